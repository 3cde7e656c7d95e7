-- citus/colocate
-- $1 table, $2 table whose colocation group it joins: a tenant's rows of all tables lie on one node, and move together.
select create_distributed_table($1::text::regclass, 'tenant_id', colocate_with => $2::text)
where not exists (select 1 from pg_dist_partition where logicalrelid = $1::text::regclass)
