-- archive_file/describe_numbers
-- $1 tenant, $2 period, $3 part, $4 generation, $5 its numbers. Of a file of an older release; one that is known stays.
update archive_files
set numbers = $5
where tenant_id = $1 and period = $2 and part = $3 and generation = $4 and numbers is null
