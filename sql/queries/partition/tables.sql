-- partition/tables
-- The tables of single years: the year, the table that they are of, and whether they are attached to it. What is not was left
-- behind by a drop that was cut short, or detached by hand.
select substring(c.relname from '_y([0-9]{4})$')::smallint as year, substring(c.relname from '^(.*)_y[0-9]{4}$') as of_table,
    c.relispartition as attached
from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
  and c.relname ~ '^(invoices|invoice_lines|payments|events)_y[0-9]{4}$'
