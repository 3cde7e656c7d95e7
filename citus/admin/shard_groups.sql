-- citus/admin/shard_groups
-- The shards of invoices stand for their whole colocated groups. table_shards counts the shards of all tables in one.
select s.shardid, s.shardminvalue::integer as min_hash, s.shardmaxvalue::integer as max_hash, n.nodename, n.nodeport,
    (select count(*) from pg_dist_partition where colocationid = t.colocationid) as table_shards
from pg_dist_shard s
join pg_dist_partition t on t.logicalrelid = s.logicalrelid
join pg_dist_placement p on p.shardid = s.shardid and p.shardstate = 1
join pg_dist_node n on n.groupid = p.groupid and n.noderole = 'primary'
where s.logicalrelid = 'invoices'::regclass
order by min_hash
