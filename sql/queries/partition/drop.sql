-- partition/drop
drop table invoices_y{year}, invoice_lines_y{year}, payments_y{year}, events_y{year}
