-- partition/function
-- Makes a year's partitions with the rights of the tables' owner: the API makes years on demand, and may make nothing else.
-- Tables are made in the first schema of the path; pg_catalog is searched before it, since it is not named. A table that is there
-- and not attached was left behind by a drop that was cut short: it is empty, and in the way.
create or replace function sheaf_make_year(year smallint) returns void
language plpgsql strict security definer
set search_path = public, pg_temp
as $function$
declare
    parent text;
    part text;
    is_full boolean;
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
        if is_citus then
            -- Citus makes the shards apart and attaches them, which stops nobody; ATTACH PARTITION by hand would have it lock the
            -- indexes of all other years. The lock that this takes on the parent is on the coordinator alone.
            execute format('create table %I partition of %I for values in (%s)', part, parent, year);
        else
            -- Made apart: PARTITION OF would lock the parent against everybody.
            execute format('create table %I (like %I including all)', part, parent);
            execute format('alter table %I attach partition %I for values in (%s)', parent, part, year);
        end if;
    end loop;
end
$function$
