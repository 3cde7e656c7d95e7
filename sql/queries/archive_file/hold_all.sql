-- archive_file/hold_all
-- $1 tenant, $2 periods, $3 keys in them. Nobody recalls from the files, or replaces them, until the transaction ends.
select object_key
from archive_files
where tenant_id = $1 and period = any($2) and object_key = any($3) and state = 'published'
order by object_key
for update
