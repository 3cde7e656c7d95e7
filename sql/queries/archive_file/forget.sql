-- archive_file/forget
-- $1 tenant, $2 period, $3 part, $4 generation, $5 whether there is a later one of the year. The
-- last file of a year stays, lest its key be used again: readers may remember it, and a deletion
-- that was given up may still reach the storage.
delete from archive_files
where tenant_id = $1 and period = $2 and part = $3 and generation = $4 and state = 'garbage' and $5
