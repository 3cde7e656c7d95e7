-- archive_file/with_numbers
-- $1 tenant, $2 a prefix, $3 $4 the first and the last number with it that are asked for, $5 one far beyond them, $6 objects
-- that are known, $7 limit. Other published files that may have any of them: those that may have one that is asked for
-- (`due`) first, and of these the newest.
select tenant_id, period, part, generation, object_key, state, min_id, max_id, invoices, lines, payments, events,
       bytes, tail_offset, sha256, sums, schema_version, staged_at, published_at, superseded_at, tail_sha256,
       numbers = 'true' or (numbers -> $2::text ->> 0)::bigint <= $4 as due
from archive_files
where tenant_id = $1 and state = 'published' and object_key <> all($6)
  and (numbers = 'true' or ((numbers -> $2::text ->> 0)::bigint <= $5 and (numbers -> $2::text ->> 1)::bigint >= $3))
order by due desc, max_id desc
limit $7
