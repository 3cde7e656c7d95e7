-- tiering/delete_invoice_lines
-- $1 tenant, $2 year, $3 invoices that are cold from this commit on.
delete from invoice_lines where tenant_id = $1 and year = $2 and invoice_id = any($3)
