-- partition/function
-- Makes a year's partitions with the rights of the tables' owner: the API makes years on demand, and may make nothing else.
-- The text of partition/create.sql is filled in by code. Tables are made in the first schema of the path; pg_catalog is
-- searched before it, since it is not named.
create or replace function sheaf_make_year(year smallint) returns void
language plpgsql strict security definer
set search_path = public, pg_temp
as $function$
begin
    if year not between 1970 and 2199 then
        raise exception 'no document has the year %', year using errcode = 'invalid_parameter_value';
    end if;
    execute replace($ddl${ddl}$ddl$, '{year}', year::text);
end
$function$
