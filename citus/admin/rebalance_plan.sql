-- citus/admin/rebalance_plan
-- $1 whether only nodes that should have no shards are emptied. A group moves as a whole, whichever of its shards Citus
-- lists (the sizes that it lists leave out partitions).
select distinct i.shardid, s.shardminvalue::integer as min_hash, m.sourcename, m.sourceport, m.targetname, m.targetport
from get_rebalance_table_shards_plan(drain_only => $1) m
join pg_dist_shard s on s.shardid = m.shardid
join pg_dist_partition t on t.logicalrelid = s.logicalrelid
join pg_dist_shard i on i.logicalrelid = 'invoices'::regclass and i.shardminvalue = s.shardminvalue
where t.colocationid = (select colocationid from pg_dist_partition where logicalrelid = 'invoices'::regclass)
order by m.sourcename, m.sourceport, i.shardid
