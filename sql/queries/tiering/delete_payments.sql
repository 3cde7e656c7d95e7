-- tiering/delete_payments
-- $1 tenant, $2 year, $3 invoices that are cold from this commit on.
delete from payments where tenant_id = $1 and year = $2 and invoice_id = any($3)
