-- profile/get
select profile, version, modified_at from tenant_profiles where tenant_id = $1
