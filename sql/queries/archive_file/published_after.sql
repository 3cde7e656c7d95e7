-- archive_file/published_after
-- $1 tenant, $2 period, $3 generation. Whether a later file of the period is published, or was.
select 1 from archive_files
where tenant_id = $1 and period = $2 and generation > $3 and published_at is not null
limit 1
