-- archive_file/between
-- $1 tenant, $2 first id, $3 end of ids, $4 limit. Files that end between the two, by their first id.
select tenant_id, period, part, generation, object_key, state, min_id, max_id, invoices, lines, payments, events,
       bytes, tail_offset, sha256, sums, schema_version, staged_at, published_at, superseded_at, tail_sha256
from archive_files
where tenant_id = $1 and state = 'published' and max_id >= $2 and max_id < $3
order by min_id, period, part
limit $4
