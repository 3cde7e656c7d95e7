-- partition/list
-- Years that have a partition, read from the partitions of invoices.
select substring(c.relname from '_y([0-9]{4})$')::smallint as year
from pg_inherits i
join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'invoices'::regclass and c.relname ~ '^invoices_y[0-9]{4}$'
order by year
