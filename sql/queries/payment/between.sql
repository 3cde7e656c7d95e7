-- payment/between
-- $1 tenant, $2 year, $3 id before the first, $4 last id: of neighbours, which a list of ids would have looked up one by one.
select tenant_id, invoice_id, id, reference, amount, paid_on, method, kind, reverses
from payments
where tenant_id = $1 and year = $2 and invoice_id > $3 and invoice_id <= $4
order by invoice_id, id
