-- payment/get
-- $1 tenant, $2 year, $3 invoices, $4 the first of them, $5 the last. Each of the two indexes has one of the bounds
-- as a row comparison: two of one column would count as a range (docs/decisions/0010-index-of-metadata.md).
select tenant_id, invoice_id, id, reference, amount, paid_on, method, kind, reverses
from payments
where tenant_id = $1 and year = $2 and invoice_id = any($3)
      and (invoice_id, reference) >= ($4, '')
      and (invoice_id, id) <= ($5, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
order by invoice_id, id
