-- number_series/ensure
-- {table} is the tenant's shard of the table on its owner. $1 tenant, $2 series, $3 their years, $4 their prefixes, $5
-- padding. Year 0 holds a series' form, and the count of a series that runs through the years.
insert into {table} (tenant_id, series, year, prefix, padding, next)
select $1::uuid, unnest($2::text[]), unnest($3::smallint[]), unnest($4::text[]), $5::smallint, 1
on conflict (tenant_id, series, year) do nothing
