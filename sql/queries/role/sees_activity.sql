-- role/sees_activity
-- Whether this user sees the transactions of whoever else writes events: as a superuser, as a member of sheaf_api, or
-- as the owner, who is alone then.
select pg_has_role(current_user, 'pg_read_all_stats', 'usage')
    or pg_has_role(current_user, c.relowner, 'usage')
from pg_catalog.pg_class c
where c.oid = 'events'::regclass
