-- citus/admin/inspect_members
-- Every primary node as the catalogs of the one that is asked have it, the coordinator first.
select nodename, nodeport, groupid = 0 as coordinator, isactive, shouldhaveshards, hasmetadata and metadatasynced as metadata
from pg_dist_node
where noderole = 'primary'
order by groupid <> 0, nodename, nodeport
