-- citus/admin/leftovers
-- $1 a shard of the group. Copies of the group's shards that earlier moves have left somewhere, to be dropped: until they are,
-- Citus refuses to move the group.
select count(*)
from pg_dist_shard g
join pg_dist_shard s on s.shardminvalue = g.shardminvalue
join pg_dist_cleanup c on c.object_name = format('public.%s_%s', s.logicalrelid, s.shardid)
where g.shardid = $1
