-- retention/share
-- $1 tenant, $2 year. Whoever sets it waits until this transaction has ended.
select year, legal_hold, keep_until, version, modified_at from retention where tenant_id = $1 and year = $2 for share
