-- number_claim/copy
-- The column order is that of the encoder (crates/store/src/invoice/encode.rs).
copy number_claims (tenant_id, number, issue_year, invoice_id) from stdin (format binary)
