-- invoice/copy
-- The column order is that of the encoder (crates/store/src/invoice/encode.rs).
copy invoices (
    tenant_id, id, year, external_id, number, kind, status, currency, customer_id, customer_external_id,
    customer_name, customer_email, customer_tax_id, customer_address, customer_country, issue_date, due_date,
    subtotal, discount_total, tax_total, total, amount_paid, amount_due, line_count, payment_count, metadata,
    version, created_at, modified_at, credits, discount, discount_percent, amount_credited, tax_rounding,
    profile_version, credited
) from stdin (format binary)
