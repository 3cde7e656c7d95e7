-- metadata_columns/get
-- $1 tenant.
select keys, version, modified_at from metadata_columns where tenant_id = $1
