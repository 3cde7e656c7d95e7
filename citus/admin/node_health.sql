-- citus/admin/node_health
-- Pairs of nodes of which the first cannot log in to the second.
select from_nodename, from_nodeport, to_nodename, to_nodeport
from citus_check_cluster_node_health()
where result is distinct from true
