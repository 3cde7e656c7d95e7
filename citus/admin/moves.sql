-- citus/admin/moves
-- Moves and splits under way, one row each. All shards of a group go together, and report on their own.
select sessionid, min(operation_type) as operation, min(status) as phase, sourcename, sourceport, targetname, targetport,
    sum(source_shard_size)::bigint as source_bytes, sum(target_shard_size)::bigint as target_bytes
from get_rebalance_progress()
group by sessionid, sourcename, sourceport, targetname, targetport
order by sessionid
