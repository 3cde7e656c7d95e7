-- archive_file/deleting
-- $1 tenant, $2 year, $3 time. When the deletion of an object of the year that was published once
-- was asked for last, after that time, without an answer so far.
select max(superseded_at)
from archive_files
where tenant_id = $1 and year = $2 and state = 'garbage' and published_at is not null and superseded_at > $3
