-- tiering/delete_events
-- $1 tenant, $2 year, $3 invoices that are cold from this commit on.
delete from events where tenant_id = $1 and year = $2 and subject_id = any($3)
