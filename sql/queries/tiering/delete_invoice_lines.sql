-- tiering/delete_invoice_lines
-- $1 tenant, $2 year, $3 id before the first, $4 last id, $5 those between that stay: a range is quicker than a list of ids.
delete from invoice_lines
where tenant_id = $1 and year = $2 and invoice_id > $3 and invoice_id <= $4 and invoice_id <> all($5)
