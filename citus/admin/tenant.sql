-- citus/admin/tenant
select name, uuid_hash(id) as hash from tenants where id = $1
