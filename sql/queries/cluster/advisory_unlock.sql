-- cluster/advisory_unlock
select pg_advisory_unlock($1)
