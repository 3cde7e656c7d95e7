-- citus/hold_shards
-- Lets a transaction write straight into shards of this node: keeps moves and splits of them waiting until it ends, by
-- the same lock that a write through Citus takes (5 is ShareLock), and then makes sure that they are still here. A new
-- snapshot for the second statement, since the first may have waited for a move to commit.
-- It runs as its owner: Citus lets nobody else take that lock, and the API is not the owner.
-- $1 shards of invoices, in ascending order; each stands for its colocated group, whose shards move together.
create or replace function sheaf_hold_shards(shards bigint[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms'
as $$
begin
    perform pg_catalog.lock_shard_metadata(5, shards);
    if (
        select count(*)
        from pg_catalog.pg_dist_placement p
        join pg_catalog.pg_dist_local_group l using (groupid)
        where p.shardid = any(shards) and p.shardstate = 1
    ) <> cardinality(shards) then
        raise exception 'a shard has left this node' using errcode = 'SF001';
    end if;
end
$$
