-- profile/keep
-- $1 tenant, $2 version, $3 profile, $4 now. Under the lock of profile/lock, or with the first one: documents that are issued
-- from here on are issued with this version.
insert into tenant_profile_versions (tenant_id, version, profile, modified_at)
values ($1, $2, $3, $4)
