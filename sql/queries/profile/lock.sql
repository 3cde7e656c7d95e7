-- profile/lock
-- For a change: whoever comes second waits, and finds the first one's version.
select profile, version, modified_at from tenant_profiles where tenant_id = $1 for update
