-- number_series/set
-- $1 tenant, $2 series, $3 year, $4 prefix, $5 padding, $6 next. The count only goes forward.
insert into number_series (tenant_id, series, year, prefix, padding, next)
values ($1, $2, $3, $4, $5, $6)
on conflict (tenant_id, series, year)
do update set prefix = excluded.prefix, padding = excluded.padding, next = excluded.next
where number_series.next <= excluded.next
