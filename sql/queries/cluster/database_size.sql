-- cluster/database_size
select pg_database_size(current_database()) as bytes, current_setting('server_version') as version
