-- citus/admin/replicate_reference_tables
-- Otherwise the first move would do it, and a node without them answers every question about tenants from afar.
select replicate_reference_tables('auto')
