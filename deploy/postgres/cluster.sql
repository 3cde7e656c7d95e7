-- On the coordinator, before workers join. Each step is left out where it was done. psql's variable `coordinator` is the name by
-- which the other nodes reach this one; the API's password is in the environment.
\set ON_ERROR_STOP on
\getenv api_password API_PASSWORD

-- No worker can join before the coordinator has a name. It keeps no shards: there are workers for them.
select not exists (select from pg_dist_node where groupid = 0) as unnamed, inet_server_port() as port \gset
\if :unnamed
select citus_set_coordinator_host(:'coordinator', :port) \g /dev/null
select citus_set_node_property(:'coordinator', :port, 'shouldhaveshards', false) \g /dev/null
\endif

-- `sheaf migrate` grants sheaf_api what the API needs; the API logs in as its member. Citus makes both on every node, also on
-- those that join later.
select 'create role sheaf_api nologin'
where not exists (select from pg_roles where rolname = 'sheaf_api') \gexec
select 'create role sheaf_app login in role sheaf_api'
where not exists (select from pg_roles where rolname = 'sheaf_app') \gexec
-- Each time, so that a new password takes effect.
select format('alter role sheaf_app password %L', :'api_password') \gexec
