-- cluster/lock_numbers
-- $1 locks of shards' numbers on this node, ascending, $2 which of them nobody else may have meanwhile. Until the
-- transaction ends.
select case when alone then pg_advisory_xact_lock(key) else pg_advisory_xact_lock_shared(key) end
from unnest($1::bigint[], $2::boolean[]) as wanted (key, alone)
