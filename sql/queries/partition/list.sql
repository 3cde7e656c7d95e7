-- partition/list
-- The years of each table that have a partition, by what the partitions say of themselves: one may hold several years.
select i.inhparent::regclass::text as of_table,
    (regexp_matches(pg_get_expr(c.relpartbound, c.oid), '[0-9]{4}', 'g'))[1]::smallint as year
from pg_inherits i
join pg_class c on c.oid = i.inhrelid
where i.inhparent in ('invoices'::regclass, 'invoice_lines'::regclass, 'payments'::regclass, 'events'::regclass)
order by year
