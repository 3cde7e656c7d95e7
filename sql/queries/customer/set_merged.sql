-- customer/set_merged
-- $1 tenant, $2 duplicate, $3 survivor, $4 now. Both are locked.
update customers
set merged_into = $3, active = false, version = version + 1, modified_at = $4
where tenant_id = $1 and id = $2
