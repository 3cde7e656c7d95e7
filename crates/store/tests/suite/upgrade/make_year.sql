-- The function of releases up to schema 8, word for word.
create or replace function sheaf_make_year(year smallint) returns void
language plpgsql strict security definer
set search_path = public, pg_temp
as $function$
begin
    if year not between 1970 and 2199 then
        raise exception 'no document has the year %', year using errcode = 'invalid_parameter_value';
    end if;
    execute replace($ddl$
create table if not exists invoices_y{year} partition of invoices for values in ({year});
create table if not exists invoice_lines_y{year} partition of invoice_lines for values in ({year});
create table if not exists payments_y{year} partition of payments for values in ({year});
create table if not exists events_y{year} partition of events for values in ({year});
$ddl$, '{year}', year::text);
end
$function$
