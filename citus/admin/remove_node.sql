-- citus/admin/remove_node
select citus_remove_node($1, $2)
