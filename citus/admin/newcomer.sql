-- citus/admin/newcomer
-- $1, $2 our coordinator. Asked of a node that wants to join: does it belong to somebody else?
select exists (select from pg_dist_node) and not exists (select from pg_dist_node where nodename = $1 and nodeport = $2)
        as foreign_cluster,
    to_regclass('invoices') is not null
        and not exists (select from pg_dist_partition where logicalrelid = to_regclass('invoices')) as own_tables
