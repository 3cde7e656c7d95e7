-- event/append
-- $1 tenant, $2 subject, $3 id, $4 the subject's year, $5 type, $6 actor, $7 request, $8 data, $9 now.
insert into events (tenant_id, subject_id, id, year, event_type, actor, request_id, data, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
