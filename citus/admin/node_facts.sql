-- citus/admin/node_facts
-- Of any PostgreSQL node, in a cluster or not. The version numbers are as in 150020; null: no such extension.
select current_setting('server_version_num')::integer as version_num,
    split_part(current_setting('server_version'), ' ', 1) as version,
    current_setting('wal_level') as wal_level,
    (select default_version from pg_available_extensions where name = 'citus') as citus_available,
    (select extversion from pg_extension where extname = 'citus') as citus_installed
