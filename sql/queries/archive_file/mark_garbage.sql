-- archive_file/mark_garbage
update archive_files
set state = 'garbage'
where tenant_id = $1 and period = $2 and part = $3 and generation = $4 and state in ('staged', 'superseded')
