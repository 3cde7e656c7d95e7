-- partition/lock
lock table invoices_y{year}, invoice_lines_y{year}, payments_y{year}, events_y{year} in access exclusive mode
