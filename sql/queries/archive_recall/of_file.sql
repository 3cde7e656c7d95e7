-- archive_recall/of_file
-- $1 tenant, $2 year, $3 first id, $4 last id, $5 when the file was published, $6 limit. The invoices whose copy in the
-- file is out of date.
select invoice_id
from archive_recalls
where tenant_id = $1 and year = $2 and invoice_id >= $3 and invoice_id <= $4 and recalled_at >= $5
order by invoice_id
limit $6
