-- payment/copy
copy payments (tenant_id, invoice_id, id, year, reference, amount, paid_on, method, created_at, kind, reverses)
from stdin (format binary)
