-- invoice/touch
-- $1 tenant, $2 year, $3 invoices, $4 now. Their histories have changed: whoever reads them for the archive must notice.
update invoices set version = version + 1, modified_at = $4 where tenant_id = $1 and year = $2 and id = any($3)
