-- archive_file/hold
-- $1 tenant, $2 period, $3 part, $4 generation. The file stays the tier of its invoices until the transaction ends.
select object_key
from archive_files
where tenant_id = $1 and period = $2 and part = $3 and generation = $4 and state = 'published'
for share
