-- idempotency/progress
-- $1 tenant, $2 key, $3 what of the upload was read. Until the answer takes its place. It only grows: an attempt that has lost its
-- lease must not take back what a later one has read.
update idempotency_keys set body = $3::bytea
where tenant_id = $1 and key = $2 and status is null and coalesce(octet_length(body), 0) < octet_length($3::bytea)
