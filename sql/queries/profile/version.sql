-- profile/version
-- $1 tenant. What a document that is issued now is issued with.
select version
from tenant_profiles
where tenant_id = $1
