-- archive_recall/forget
-- $1 tenant. Forgets the recalls that put no copy out of date any more: no file that somebody may still read is as old and
-- may hold the invoice.
delete from archive_recalls as recall
where recall.tenant_id = $1
  and not exists (
      select 1
      from archive_files as file
      where file.tenant_id = recall.tenant_id and file.year = recall.year
        and file.state in ('published', 'superseded')
        and file.min_id <= recall.invoice_id and file.max_id >= recall.invoice_id
        and file.published_at <= recall.recalled_at
  )
