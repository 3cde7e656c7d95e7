-- metadata_columns/lock
-- $1 tenant.
select keys, version, modified_at from metadata_columns where tenant_id = $1 for update
