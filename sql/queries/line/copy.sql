-- line/copy
copy invoice_lines (
    tenant_id, invoice_id, line_no, year, sku, description, quantity, unit_price, discount, tax_rate, net, tax,
    discount_percent, document_discount
) from stdin (format binary)
