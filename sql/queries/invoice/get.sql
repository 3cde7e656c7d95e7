-- invoice/get
-- $1 tenants, $2 years, $3 ids, side by side: each probe meets one partition and one index entry, where lists that
-- cross would probe every pair. tenant_id = any($1) says to Citus that all of them are of one shard.
select i.tenant_id, i.id, i.external_id, i.number, i.kind, i.status, i.currency, i.customer_id, i.customer_external_id, i.customer_name,
       i.customer_email, i.customer_tax_id, i.customer_address, i.customer_country, i.issue_date, i.due_date, i.subtotal,
       i.discount_total, i.tax_total, i.total, i.amount_paid, i.amount_due, i.metadata, i.version, i.created_at, i.modified_at,
       i.line_count, i.payment_count
from unnest($1::uuid[], $2::smallint[], $3::uuid[]) as k (tenant_id, year, id)
join invoices i on i.tenant_id = k.tenant_id and i.year = k.year and i.id = k.id
where i.tenant_id = any($1)
