-- number_claim/collisions
-- $1 tenant. Numbers that two of its hot documents have in one year: one by the year of its id, the other by a row here.
select c.number, c.issue_year, c.invoice_id, i.id
from number_claims c
join invoices i on i.tenant_id = c.tenant_id and i.year = c.issue_year and i.number = c.number
where c.tenant_id = $1 and i.id <> c.invoice_id
order by c.number, c.issue_year, i.id
