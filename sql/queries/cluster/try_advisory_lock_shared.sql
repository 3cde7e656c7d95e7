-- cluster/try_advisory_lock_shared
select pg_try_advisory_lock_shared($1)
