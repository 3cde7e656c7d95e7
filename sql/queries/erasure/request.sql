-- erasure/request
-- $1 tenant, $2 customer, $3 now, $4 who. What was done for an earlier request still counts.
insert into erasures (tenant_id, customer_id, requested_at, requested_by)
values ($1, $2, $3, $4)
on conflict (tenant_id, customer_id) do update
set requested_at = excluded.requested_at, requested_by = excluded.requested_by, passed_at = null, completed_at = null
