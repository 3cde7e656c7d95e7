-- archive_file/count
-- $1 tenant. Its files and their bytes by state, and since when the oldest of a state is staged or superseded. A file's bytes are
-- known when it is published.
select state, count(*), sum(bytes)::bigint, min(coalesce(superseded_at, staged_at))
from archive_files
where tenant_id = $1
group by state
