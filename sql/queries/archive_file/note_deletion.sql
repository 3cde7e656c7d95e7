-- archive_file/note_deletion
-- $1 tenant, $2 period, $3 part, $4 generation, $5 since when an answer to the deletion of the
-- object is missing: null where it was answered, and the row stays (forget.sql), or where none was
-- asked for after all.
update archive_files
set superseded_at = $5
where tenant_id = $1 and period = $2 and part = $3 and generation = $4 and state = 'garbage'
