-- cluster/schema_version
select coalesce(max(version), 0)::integer from refinery_schema_history
