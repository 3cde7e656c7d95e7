-- tenant/find_external_ids
select id, external_id from tenants where external_id = any($1)
