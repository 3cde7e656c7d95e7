-- erasure/count_open
-- $1 tenant. Erasures that are not complete, and since when the oldest is asked for.
select count(*), min(requested_at) from erasures where tenant_id = $1 and completed_at is null
