-- partition/detach
-- {table} and {year} are filled in by code. Waits for all who write into the table on any shard, and keeps others out until the
-- transaction ends: it locks the shards as well, unlike LOCK TABLE, which Citus takes to mean the shell tables alone.
alter table {table} detach partition {table}_y{year}
