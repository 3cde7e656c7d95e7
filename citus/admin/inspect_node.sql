-- citus/admin/inspect_node
-- What `sheaf doctor` asks of any PostgreSQL node, in a cluster or not.
select current_setting('server_version_num')::integer as version_num,
    split_part(current_setting('server_version'), ' ', 1) as version,
    pg_is_in_recovery() as standby,
    clock_timestamp() as clock,
    (select s.version from pg_catalog.pg_stat_ssl s where s.pid = pg_backend_pid() and s.ssl) as tls,
    exists (select from pg_catalog.pg_extension where extname = 'citus') as citus,
    exists (select from pg_catalog.pg_available_extensions where name = 'citus') as citus_available,
    (select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
     from pg_catalog.pg_class c
     where c.relkind = 'r' and c.relname like 'invoices\_%') as invoices
