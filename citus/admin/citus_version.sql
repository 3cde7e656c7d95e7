-- citus/admin/citus_version
select split_part(citus_version(), ' ', 2) as version
