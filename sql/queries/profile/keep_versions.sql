-- profile/keep_versions
-- Enters each tenant's profile of now among the versions that are kept. Of all tenants: Citus does it shard by shard.
insert into tenant_profile_versions (tenant_id, version, profile, modified_at)
select tenant_id, version, profile, modified_at
from tenant_profiles
on conflict (tenant_id, version) do nothing
