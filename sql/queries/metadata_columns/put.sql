-- metadata_columns/put
-- $1 tenant, $2 keys, $3 the version that was read (0: none), $4 now. Changes nothing where somebody else was faster.
insert into metadata_columns (tenant_id, keys, version, modified_at)
values ($1, $2, 1, $4)
on conflict (tenant_id) do update
set keys = excluded.keys, version = metadata_columns.version + 1, modified_at = excluded.modified_at
where metadata_columns.version = $3
