-- payment/get
-- $1 tenant, $2 year, $3 invoices, $4 the first of them, $5 the last.
select tenant_id, invoice_id, id, reference, amount, paid_on, method, kind, reverses
from payments
where tenant_id = $1 and year = $2 and invoice_id = any($3) and invoice_id >= $4 and invoice_id <= $5
order by invoice_id, id
