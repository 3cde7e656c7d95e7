-- cluster/advisory_xact_lock
select pg_advisory_xact_lock($1)
