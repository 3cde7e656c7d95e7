-- number_claim/insert
-- {table} is the tenant's shard of the table on its owner. The column order is that of copy.sql.
insert into {table} (tenant_id, number, issue_year, invoice_id)
select unnest($1::uuid[]), unnest($2::text[]), unnest($3::smallint[]), unnest($4::uuid[])
