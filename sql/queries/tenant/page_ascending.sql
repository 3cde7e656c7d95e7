-- tenant/page_ascending
-- $1 cursor, $2 limit. For work that visits every tenant.
select id, name, external_id, created_at
from tenants
where $1::uuid is null or id > $1
order by id
limit $2
