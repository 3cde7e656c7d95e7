-- archive_file/before
-- $1 tenant, $2 cursor, $3 limit. Files that can hold an id below the cursor, the latest first.
select tenant_id, period, part, generation, object_key, state, min_id, max_id, invoices, lines, payments, events,
       bytes, tail_offset, sha256, sums, schema_version, staged_at, published_at, superseded_at, tail_sha256
from archive_files
where tenant_id = $1 and state = 'published' and ($2::uuid is null or min_id < $2)
order by max_id desc, period, part
limit $3
