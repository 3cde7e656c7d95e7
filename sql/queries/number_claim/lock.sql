-- number_claim/lock
-- $1 tenant, $2 the lock of its shard's numbers, $3 whether nobody else may have it. cluster/lock_numbers for a session of
-- the coordinator: the lock is taken where the tenant's rows are. An aggregate has a row where the table has none.
select case when $3::boolean then pg_advisory_xact_lock($2::bigint + 0 * count(*))
            else pg_advisory_xact_lock_shared($2::bigint + 0 * count(*)) end
from number_claims
where tenant_id = $1 and number = ''
