-- citus/admin/inspect_rights
-- What the user that asks may do: with the tables of $1, of which `events` is written and read only, and the functions of $2.
select current_user::text as name,
    (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user) as superuser,
    coalesce((select pg_has_role(current_user, c.relowner, 'usage')
              from pg_catalog.pg_class c where c.oid = to_regclass('events')), false) as owner,
    exists (select from pg_catalog.pg_roles where rolname = 'sheaf_api') as has_api_role,
    coalesce((select pg_has_role(current_user, r.oid, 'usage')
              from pg_catalog.pg_roles r where r.rolname = 'sheaf_api'), false) as api_member,
    pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees_activity,
    coalesce(has_table_privilege(to_regclass('events'), 'update, delete, truncate'), false) as changes_events,
    (select coalesce(array_agg(p.privilege || ' on ' || t.name order by t.name, p.privilege), '{}')
     from unnest($1::text[]) t (name)
     cross join unnest(array['select', 'insert', 'update', 'delete']) p (privilege)
     where not (t.name = 'events' and p.privilege in ('update', 'delete'))
       and to_regclass(t.name) is not null
       and not has_table_privilege(to_regclass(t.name), p.privilege))
    || (select coalesce(array_agg('execute on ' || f.name order by f.name), '{}')
        from unnest($2::text[]) f (name)
        where to_regprocedure(f.name) is not null
          and not has_function_privilege(to_regprocedure(f.name), 'execute')) as missing
