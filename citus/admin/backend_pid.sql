-- citus/admin/backend_pid
select pg_backend_pid()
