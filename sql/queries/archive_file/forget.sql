-- archive_file/forget
delete from archive_files
where tenant_id = $1 and period = $2 and part = $3 and generation = $4 and state = 'garbage'
