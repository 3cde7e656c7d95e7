-- citus/admin/session
-- A node that does not answer must not hold up the answer about the others.
set citus.node_connection_timeout = '5s'
