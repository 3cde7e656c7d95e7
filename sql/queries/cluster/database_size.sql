-- cluster/database_size
select pg_database_size(current_database()) as bytes, split_part(current_setting('server_version'), ' ', 1) as version
