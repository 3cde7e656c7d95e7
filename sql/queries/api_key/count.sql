-- api_key/count
select count(*) from api_keys where tenant_id = $1
