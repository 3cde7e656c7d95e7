-- tiering/delete_invoices
-- $1 tenant, $2 year, $3 invoices that are cold from this commit on.
delete from invoices where tenant_id = $1 and year = $2 and id = any($3)
