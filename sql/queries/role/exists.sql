-- role/exists
select exists (select from pg_catalog.pg_roles where rolname = 'sheaf_api')
