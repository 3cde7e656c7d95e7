-- citus/admin/stat_tenants_track
select coalesce(current_setting('citus.stat_tenants_track', true), 'none') <> 'none' as tracking
