-- archive_file/for_id
-- $1 tenant, $2 its month and its year, $3 invoice.
select tenant_id, period, part, generation, object_key, state, min_id, max_id, invoices, lines, payments, events,
       bytes, tail_offset, sha256, sums, schema_version, staged_at, published_at, superseded_at, tail_sha256
from archive_files
where tenant_id = $1 and period = any($2) and state = 'published' and min_id <= $3 and max_id >= $3
order by period desc, part
