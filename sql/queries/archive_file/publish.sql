-- archive_file/publish
-- Only what is still staged: a collector may have given the attempt up meanwhile.
update archive_files
set state = 'published', min_id = $5, max_id = $6, invoices = $7, lines = $8, payments = $9, events = $10,
    bytes = $11, tail_offset = $12, sha256 = $13, sums = $14, published_at = $15, tail_sha256 = $16,
    numbers = $17
where tenant_id = $1 and period = $2 and part = $3 and generation = $4 and state = 'staged'
