-- line/between
-- $1 tenant, $2 year, $3 id before the first, $4 last id: of neighbours, which a list of ids would have looked up one by one.
select tenant_id, invoice_id, sku, description, quantity, unit_price, discount, tax_rate, net, tax,
       discount_percent, document_discount
from invoice_lines
where tenant_id = $1 and year = $2 and invoice_id > $3 and invoice_id <= $4
order by invoice_id, line_no
