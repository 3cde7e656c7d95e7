-- invoice/numbered
-- $1 tenant, $2 last id of the page before, $3 limit. Documents with a number and a day of issue.
select id, number, issue_date
from invoices
where tenant_id = $1 and id > $2 and number is not null and issue_date is not null
order by id
limit $3
