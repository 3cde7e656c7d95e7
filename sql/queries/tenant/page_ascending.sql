-- tenant/page_ascending
-- $1 cursor, $2 limit. For work that visits every tenant.
select id, name, external_id, created_at
from tenants
where id > coalesce($1, '00000000-0000-0000-0000-000000000000'::uuid)
order by id
limit $2
