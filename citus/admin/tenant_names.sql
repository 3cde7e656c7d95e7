-- citus/admin/tenant_names
select id, name from tenants where id = any($1)
