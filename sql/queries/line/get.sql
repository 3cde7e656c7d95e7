-- line/get
-- $1 tenant, $2 year, $3 invoices, $4 the first of them, $5 the last.
select tenant_id, invoice_id, sku, description, quantity, unit_price, discount, tax_rate, net, tax,
       discount_percent, document_discount
from invoice_lines
where tenant_id = $1 and year = $2 and invoice_id = any($3)
      and (invoice_id, line_no) >= ($4, 0) and (invoice_id, line_no) <= ($5, 2147483647)
order by invoice_id, line_no
