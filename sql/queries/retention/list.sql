-- retention/list
-- $1 tenant. A row a year at most: 230.
select year, legal_hold, keep_until, version, modified_at from retention where tenant_id = $1 order by year
