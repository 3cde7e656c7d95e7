-- archive_recall/latest
-- $1 tenant, $2 year. A file that is published now must be later than every recall.
select max(recalled_at) from archive_recalls where tenant_id = $1 and year = $2
