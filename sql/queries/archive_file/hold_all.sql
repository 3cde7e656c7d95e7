-- archive_file/hold_all
-- $1 tenant, $2 period, $3 parts, $4 generations of those parts. Nobody recalls from the files, or replaces them, until the
-- transaction ends.
select part, generation
from archive_files
where tenant_id = $1 and period = $2 and part = any($3) and generation = any($4) and state = 'published'
order by part, generation
for update
