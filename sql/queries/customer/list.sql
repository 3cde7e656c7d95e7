-- customer/list
-- $1 tenant, $2 first id that is too late (the cursor), $3 limit. Newest first.
-- The placeholder takes for each filter that is asked for `and <column> = $n`: one that is left out must not be in the
-- plan, which otherwise could not enter the filter's index.
select tenant_id, id, external_id, name, email, tax_id, address, country, metadata, active, merged_into, version,
       created_at, coalesce(modified_at, created_at)
from customers
where tenant_id = $1
  and id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
{conditions}order by id desc
limit $3
