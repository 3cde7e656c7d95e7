-- cluster/try_advisory_lock
select pg_try_advisory_lock($1)
