-- citus/placements
-- $1 tables. Every shard of the colocation group with its owner. Shards of one group share hash ranges and nodes.
select s.logicalrelid::text as relation, s.shardid, s.shardminvalue::integer as min_hash, n.nodename, n.nodeport
from pg_dist_shard s
join pg_dist_placement p on p.shardid = s.shardid and p.shardstate = 1
join pg_dist_node n on n.groupid = p.groupid and n.noderole = 'primary'
where s.logicalrelid = any($1::text[]::regclass[])
order by min_hash, relation
