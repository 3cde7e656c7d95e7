-- archive_file/published_after
-- $1 tenant, $2 $3 first and last period of a year, $4 generation. Whether a later file of the year is published, or was.
select 1 from archive_files
where tenant_id = $1 and period >= $2 and period <= $3 and generation > $4 and published_at is not null
limit 1
