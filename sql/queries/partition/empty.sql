-- partition/empty
-- Events outlive nothing: those of an archived invoice have left with it.
select not exists (select 1 from invoices_y{year})
   and not exists (select 1 from invoice_lines_y{year})
   and not exists (select 1 from payments_y{year})
   and not exists (select 1 from events_y{year})
