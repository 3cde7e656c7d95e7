-- citus/admin/inspect_settings
-- Settings by name; one that the server does not have, or does not show to this user, has no row.
select name, setting, current_setting(name) as shown, source = 'default' as is_default
from pg_catalog.pg_settings
where name = any($1::text[])
