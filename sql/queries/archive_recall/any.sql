-- archive_recall/any
-- $1 tenant. Whether any of its archived copies may be out of date.
select year from archive_recalls where tenant_id = $1 limit 1
