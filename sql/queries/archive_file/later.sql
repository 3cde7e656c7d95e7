-- archive_file/later
-- $1 tenant, $2 $3 first and last period of a year, $4 generation. Whether there is a later file of
-- the year.
select 1 from archive_files
where tenant_id = $1 and period >= $2 and period <= $3 and generation > $4
limit 1
