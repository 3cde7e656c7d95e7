-- role/create
-- What the API may do; its login roles are members. Citus makes it on all nodes.
create role sheaf_api nologin
