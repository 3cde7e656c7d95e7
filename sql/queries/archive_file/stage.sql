-- archive_file/stage
insert into archive_files (tenant_id, period, part, generation, year, object_key, state, schema_version, staged_at)
values ($1, $2, $3, $4, $5, $6, 'staged', $7, $8)
