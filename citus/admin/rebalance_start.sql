-- citus/admin/rebalance_start
-- $1 whether only nodes that should have no shards are emptied. Null when there is nothing to move.
-- auto: by logical replication, so that writes go on; a table without a primary key is refused.
select citus_rebalance_start(drain_only => $1, shard_transfer_mode => 'auto') as job_id
