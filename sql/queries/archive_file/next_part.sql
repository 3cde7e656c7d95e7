-- archive_file/next_part
-- $1 tenant, $2 period. Parts that were only ever staged are not counted: their number is free for the next attempt.
select coalesce(max(part) + 1, 0)::integer
from archive_files
where tenant_id = $1 and period = $2 and state in ('published', 'superseded')
