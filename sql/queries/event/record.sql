-- event/record
-- One event, routed by Citus. An attempt whose answer was lost changes nothing when it is made again.
insert into events (
    tenant_id, subject_id, id, year, event_type, actor, request_id, data, created_at, correlation_id, causation_id
)
values ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9, $10, $11)
on conflict (tenant_id, subject_id, id, year) do nothing
