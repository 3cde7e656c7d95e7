-- citus/admin/local_sizes
-- Bytes on this very node (tables, indexes, TOAST) of each colocated group whose placement it holds. Asked of each node
-- itself, so that an unreachable one costs nothing but its own answer.
select s.shardminvalue::integer as min_hash,
    coalesce(sum(pg_total_relation_size(to_regclass(shard_name(s.logicalrelid, s.shardid)))), 0)::bigint as bytes
from pg_dist_shard s
join pg_dist_partition t on t.logicalrelid = s.logicalrelid
join pg_dist_placement p on p.shardid = s.shardid
join pg_dist_local_group g on g.groupid = p.groupid
where t.colocationid = (select colocationid from pg_dist_partition where logicalrelid = 'invoices'::regclass)
group by s.shardminvalue
