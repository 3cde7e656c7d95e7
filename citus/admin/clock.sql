-- citus/admin/clock
-- The time by a node's clock. Any PostgreSQL node, in a cluster or not.
select clock_timestamp()
