-- retention/list
-- $1 tenant. A row a year at most: 230. Version 0 was made to be locked (ensure.sql).
select year, legal_hold, keep_until, version, modified_at from retention where tenant_id = $1 and version > 0 order by year
