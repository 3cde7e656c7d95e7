-- event/naming
-- $1 tenant, $2 a change away from a customer, $3 last one found (or the nil id), $4 years that are left alone, $5 limit.
-- Invoices that were another customer's once. No index helps: erasure asks, and nobody else.
select distinct subject_id
from events
where tenant_id = $1 and data @> $2::text::jsonb and subject_id > $3 and year <> all($4::smallint[])
order by subject_id
limit $5
