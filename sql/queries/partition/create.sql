-- partition/create
-- {year} is filled in by code from a bounded integer: DDL takes no parameters.
create table if not exists invoices_y{year} partition of invoices for values in ({year});
create table if not exists invoice_lines_y{year} partition of invoice_lines for values in ({year});
create table if not exists payments_y{year} partition of payments for values in ({year});
create table if not exists events_y{year} partition of events for values in ({year});
