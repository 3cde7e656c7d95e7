-- partition/function
-- Makes a year's partitions with the rights of the tables' owner: the API makes years on demand, and may make nothing else.
-- Tables are made in the first schema of the path; pg_catalog is searched before it, since it is not named. A table that is there
-- and not attached was left behind by a drop that was cut short: it is empty, and in the way.
--
-- On Citus, PARTITION OF makes the shards apart and attaches them, which stops nobody; but it locks
-- the parent on the coordinator against everybody, and so does not get by a transaction that goes
-- through the coordinator and stays open: an upload of several tenants with atomic=true, a dump,
-- somebody's report. Behind one of these the tables are made apart and attached by hand. That gets
-- by readers and writers, but keeps writers waiting from the first table that is attached until the
-- commit, since Citus then renames indexes of the new shards, under a lock of the indexes of all
-- years: so all that takes long goes before it.
create or replace function sheaf_make_year(year smallint) returns void
language plpgsql strict security definer
set search_path = public, pg_temp
as $function$
declare
    parent text;
    part text;
    is_full boolean;
    apart text[] := '{}';
    is_citus constant boolean := exists (select from pg_extension where extname = 'citus');
begin
    if year not between 1970 and 2199 then
        raise exception 'no document has the year %', year using errcode = 'invalid_parameter_value';
    end if;
    foreach parent in array array['invoices', 'invoice_lines', 'payments', 'events'] loop
        if exists (
            select from pg_inherits i
            join pg_class c on c.oid = i.inhrelid
            where i.inhparent = parent::regclass and pg_get_expr(c.relpartbound, c.oid) ~ ('\m' || year || '\M')
        ) then
            continue;
        end if;
        part := parent || '_y' || year;
        if to_regclass(part) is not null then
            execute format('select exists (select 1 from %I)', part) into is_full;
            if is_full then
                raise exception 'the table % is detached and holds rows: attach it, or give it another name', part
                    using errcode = 'object_not_in_prerequisite_state';
            end if;
            execute format('drop table %I', part);
        end if;
        if not is_citus then
            -- Made apart: PARTITION OF would lock the parent against everybody.
            execute format('create table %I (like %I including all)', part, parent);
            execute format('alter table %I attach partition %I for values in (%s)', parent, part, year);
            continue;
        end if;
        if apart = '{}' then
            begin
                execute format('create table %I partition of %I for values in (%s)', part, parent, year);
                continue;
            exception when lock_not_available then
                -- Whoever keeps us from this table would keep us from the others.
                null;
            end;
        end if;
        apart := apart || parent;
    end loop;
    foreach parent in array apart loop
        part := parent || '_y' || year;
        execute format('create table %I (like %I including all)', part, parent);
        perform create_distributed_table(part::regclass, 'tenant_id', colocate_with => parent);
    end loop;
    foreach parent in array apart loop
        part := parent || '_y' || year;
        execute format('alter table %I attach partition %I for values in (%s)', parent, part, year);
    end loop;
end
$function$
