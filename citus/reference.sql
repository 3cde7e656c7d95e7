-- citus/reference
-- $1 table. Small, read everywhere, written seldom: a copy on every node. Does nothing for a table Citus knows.
select create_reference_table($1::text::regclass)
where not exists (select 1 from pg_dist_partition where logicalrelid = $1::text::regclass)
