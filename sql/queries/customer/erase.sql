-- customer/erase
-- $1 tenant, $2 customer, $3 what stands for the name, $4 now. The record is locked. Nobody can be invoiced by it any more.
update customers
set external_id = null, name = $3, email = null, tax_id = null, address = null, metadata = '{}', active = false,
    version = version + 1, modified_at = $4
where tenant_id = $1 and id = $2
