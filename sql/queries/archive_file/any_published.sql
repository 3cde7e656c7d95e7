-- archive_file/any_published
-- $1 tenant. Whether it has archived invoices.
select part from archive_files where tenant_id = $1 and state = 'published' limit 1
