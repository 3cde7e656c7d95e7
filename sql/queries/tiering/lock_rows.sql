-- tiering/lock_rows
-- $1 tenant, $2 year, $3 ids. What is settled and as it was read may go; the lock keeps it so until the commit.
select id, version
from invoices
where tenant_id = $1 and year = $2 and id = any($3) and status in ('paid', 'cancelled')
for update
