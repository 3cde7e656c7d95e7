-- archive_file/next
-- $1 tenant, $2 first id. The last id of the first file that ends there or later.
select max_id
from archive_files
where tenant_id = $1 and state = 'published' and max_id >= $2
order by max_id
limit 1
