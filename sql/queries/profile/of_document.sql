-- profile/of_document
-- $1 tenant, $2 the version that a document was issued with; null where none was set then, or none was kept: the oldest.
select profile, version, modified_at
from tenant_profile_versions
where tenant_id = $1 and version >= coalesce($2::bigint, 0)
order by version
limit 1
