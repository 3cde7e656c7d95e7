-- retention/hold
-- $1 tenant, $2 year. Whether the year is on legal hold.
select year from retention where tenant_id = $1 and year = $2 and legal_hold
