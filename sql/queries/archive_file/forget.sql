-- archive_file/forget
-- $1 tenant, $2 period, $3 part, $4 generation, $5 whether a later one of the year was published. The last file of a year
-- that was ever published stays, lest its key be used again.
delete from archive_files
where tenant_id = $1 and period = $2 and part = $3 and generation = $4 and state = 'garbage' and (published_at is null or $5)
