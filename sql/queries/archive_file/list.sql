-- archive_file/list
-- $1 tenant, $2 states, $3-$5 cursor (period, part, generation), $6 limit.
select tenant_id, period, part, generation, object_key, state, min_id, max_id, invoices, lines, payments, events,
       bytes, tail_offset, sha256, sums, schema_version, staged_at, published_at, superseded_at, tail_sha256
from archive_files
where tenant_id = $1 and state = any($2)
  and (period, part, generation) > (coalesce($3, ''), coalesce($4, 0), coalesce($5, 0))
order by period, part, generation
limit $6
