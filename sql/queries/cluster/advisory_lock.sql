-- cluster/advisory_lock
select pg_advisory_lock($1)
