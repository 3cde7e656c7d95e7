-- archive_recall/of_tenant
-- $1 tenant, $2 last invoice of the page before, $3 limit. When each invoice was recalled last.
select invoice_id, recalled_at
from archive_recalls
where tenant_id = $1 and invoice_id > $2
order by invoice_id
limit $3
