-- archive_recall/record
-- {table} is the tenant's shard of the table on its owner.
-- $1 tenant, $2 invoice, $3 year, $4 object, $5 time, $6 when the file was published. From this commit on every copy of
-- the invoice in a file that was published up to that time is out of date: this one, and those of earlier recalls. No row
-- when this copy was out of date already: somebody else has recalled it since it was read.
insert into {table} as recall (tenant_id, invoice_id, year, object_key, recalled_at)
values ($1, $2, $3, $4, $5)
on conflict (tenant_id, invoice_id, year)
do update set object_key = excluded.object_key, recalled_at = excluded.recalled_at
where recall.recalled_at < $6
