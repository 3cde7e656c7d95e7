-- customer/copy
copy customers (tenant_id, id, external_id, name, email, tax_id, address, country, created_at)
from stdin (format binary)
