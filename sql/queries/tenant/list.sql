-- tenant/list
-- $1 cursor, $2 limit. Newest first.
select id, name, external_id, created_at
from tenants
where $1::uuid is null or id < $1
order by id desc
limit $2
