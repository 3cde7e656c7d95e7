-- payment/get
-- $1 tenants of one shard, $2 years, $3 invoices, side by side (see invoice/get).
select c.tenant_id, c.invoice_id, c.id, c.reference, c.amount, c.paid_on, c.method
from unnest($1::uuid[], $2::smallint[], $3::uuid[]) as k (tenant_id, year, id)
join payments c on c.tenant_id = k.tenant_id and c.year = k.year and c.invoice_id = k.id
where c.tenant_id = any($1)
order by c.tenant_id, c.invoice_id, c.id
