-- tenant/list
-- $1 cursor, $2 limit. Newest first.
select id, name, external_id, created_at
from tenants
where id < coalesce($1, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
order by id desc
limit $2
