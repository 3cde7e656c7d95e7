-- cluster/hold_shards
-- $1 shards of invoices on this node, ascending. citus/hold_shards.sql says what it does.
select sheaf_hold_shards($1)
