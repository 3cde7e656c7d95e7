-- citus/distribute
-- $1 table, $2 shards. The first table makes the colocation group of everything a tenant owns.
select create_distributed_table($1::text::regclass, 'tenant_id', colocate_with => 'none', shard_count => $2)
where not exists (select 1 from pg_dist_partition where logicalrelid = $1::text::regclass)
