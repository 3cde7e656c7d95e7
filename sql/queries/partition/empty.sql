-- partition/empty
-- Events outlive nothing: those of an archived invoice have left with it.
select not exists (select from invoices_y{year})
   and not exists (select from invoice_lines_y{year})
   and not exists (select from payments_y{year})
   and not exists (select from events_y{year})
