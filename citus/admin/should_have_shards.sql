-- citus/admin/should_have_shards
select citus_set_node_property($1, $2, 'shouldhaveshards', $3)
