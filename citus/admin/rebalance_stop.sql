-- citus/admin/rebalance_stop
select citus_rebalance_stop()
