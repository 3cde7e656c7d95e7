-- citus/admin/nodes
-- Every primary node, the coordinator first.
select nodename, nodeport, groupid = 0 as coordinator, isactive, shouldhaveshards
from pg_dist_node
where noderole = 'primary'
order by groupid <> 0, nodename, nodeport
