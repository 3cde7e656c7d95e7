-- customer/create
-- $1 tenant, $2 id, $3 external id, $4 name, $5 email, $6 tax id, $7 address, $8 country, $9 metadata, $10 active, $11 now.
insert into customers (
    tenant_id, id, external_id, name, email, tax_id, address, country, metadata, active, created_at
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
