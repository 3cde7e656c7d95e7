-- event/insert
-- {table} is the tenant's shard of the table on its owner. A column is an array: one statement a table and flush,
-- whatever the number of rows. (In the select list, arrays need no tuplestores, as they would in FROM.) The column order is that of copy.sql.
insert into {table} (
    tenant_id, subject_id, id, year, event_type, actor, request_id, data, created_at, correlation_id, causation_id
)
select
    unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::uuid[]), unnest($4::smallint[]), unnest($5::text[]),
    unnest($6::text[]), unnest($7::text[]), unnest($8::jsonb[]), unnest($9::timestamptz[]),
    unnest($10::text[]), unnest($11::text[])
