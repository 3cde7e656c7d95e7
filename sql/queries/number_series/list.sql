-- number_series/list
-- $1 tenant.
select series, year, prefix, padding, next from number_series where tenant_id = $1 order by series, year limit 1000
