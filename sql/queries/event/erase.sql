-- event/erase
-- $1 tenant, $2 year, $3 subject, $4 event, $5 its data without what was erased. The one way in which an event changes.
update events set data = $5::text::jsonb where tenant_id = $1 and year = $2 and subject_id = $3 and id = $4
