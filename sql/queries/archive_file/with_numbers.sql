-- archive_file/with_numbers
-- $1 tenant, $2 a prefix, $3 $4 the first and the last number with it, $5 limit. Published files that may have any of them,
-- the newest first.
select tenant_id, period, part, generation, object_key, state, min_id, max_id, invoices, lines, payments, events,
       bytes, tail_offset, sha256, sums, schema_version, staged_at, published_at, superseded_at, tail_sha256
from archive_files
where tenant_id = $1 and state = 'published'
  and (numbers = 'true' or ((numbers -> $2::text ->> 0)::bigint <= $4 and (numbers -> $2::text ->> 1)::bigint >= $3))
order by max_id desc
limit $5
