-- archive_file/retire
-- $1 tenant, $2 period, $3 part, $4 generation, $5 now. A file that was published is garbage, and
-- the deletion of its object is about to be asked for: from here on `superseded_at` says when,
-- until that was answered (note_deletion.sql).
update archive_files
set state = 'garbage', superseded_at = $5
where tenant_id = $1 and period = $2 and part = $3 and generation = $4 and state in ('superseded', 'garbage')
