-- archive_file/next_generation
-- $1 tenant, $2 period, $3 part. Every attempt writes under a key of its own.
select coalesce(max(generation) + 1, 1)::integer from archive_files where tenant_id = $1 and period = $2 and part = $3
