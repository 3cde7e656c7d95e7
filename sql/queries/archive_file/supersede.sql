-- archive_file/supersede
-- $1 tenant, $2 period, $3 part, $4 generation, $5 time. Its invoices are in another file from this commit on.
update archive_files
set state = 'superseded', superseded_at = $5
where tenant_id = $1 and period = $2 and part = $3 and generation = $4 and state = 'published'
