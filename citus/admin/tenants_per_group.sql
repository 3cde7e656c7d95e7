-- citus/admin/tenants_per_group
-- $1 the groups' smallest hashes, sorted. Bucket 1 is the first group.
select width_bucket(uuid_hash(id), $1::integer[]) as bucket, count(*) as tenants
from tenants
group by bucket
