-- archive_recall/of_id
-- $1 tenant, $2 year, $3 invoice. Copies in files that were published up to this time are out of date.
select recalled_at from archive_recalls where tenant_id = $1 and year = $2 and invoice_id = $3
