-- citus/placements
-- Every shard of the colocation group with its owner. Shards of one group share hash ranges and nodes, so the
-- shards of invoices stand for all of them.
select s.shardid, s.shardminvalue::integer as min_hash, n.nodename, n.nodeport
from pg_dist_shard s
join pg_dist_placement p on p.shardid = s.shardid and p.shardstate = 1
join pg_dist_node n on n.groupid = p.groupid and n.noderole = 'primary'
where s.logicalrelid = 'invoices'::regclass
order by min_hash
