-- archive_file/of_years
-- $1 tenant, $2 years. What is published decides whether a key may come in.
select tenant_id, period, part, generation, object_key, state, min_id, max_id, invoices, lines, payments, events,
       bytes, tail_offset, sha256, sums, schema_version, staged_at, published_at, superseded_at, tail_sha256
from archive_files
where tenant_id = $1 and year = any($2) and state = 'published'
order by period, part, generation
