-- event/weight
-- $1 tenant, $2 year, $3 invoice. The bytes of its history. Asked for where an invoice has changed often.
select coalesce(sum(octet_length(data::text)), 0)::bigint
from events
where tenant_id = $1 and year = $2 and subject_id = $3
