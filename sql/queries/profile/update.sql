-- profile/update
-- Under the lock of profile/lock.
update tenant_profiles set profile = $2, version = version + 1, modified_at = $3 where tenant_id = $1
