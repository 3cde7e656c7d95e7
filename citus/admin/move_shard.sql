-- citus/admin/move_shard
-- $1 a shard of the group, $2 $3 from, $4 $5 to. auto: by logical replication, so that writes go on; a table without a
-- primary key is refused.
select citus_move_shard_placement($1, $2, $3, $4, $5, 'auto')
