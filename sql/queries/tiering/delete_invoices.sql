-- tiering/delete_invoices
-- $1 tenant, $2 year, $3 invoices that are cold from this commit on. What is settled may go, and its version tells whether it is as
-- it was read.
delete from invoices
where tenant_id = $1 and year = $2 and id = any($3) and status in ('paid', 'cancelled')
returning id, version
