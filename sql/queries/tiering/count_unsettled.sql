-- tiering/count_unsettled
-- $1 tenant, $2 first id beyond.
select count(*) from invoices where tenant_id = $1 and id < $2 and status not in ('paid', 'cancelled')
