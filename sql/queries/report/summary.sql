-- report/summary
-- $1 tenant, $2 today, $3 the day from which on the last 30 days count, $4 and $5 first and last day of issue or null.
-- Reads all that the tenant has in the hot tier (docs/decisions/0011-reports.md).
select currency, kind, status,
       count(*) as count,
       sum(total) as total,
       sum(amount_paid) as paid,
       sum(amount_due) as due,
       count(*) filter (where due_date < $2 and amount_due > 0) as past_due_count,
       coalesce(sum(amount_due) filter (where due_date < $2 and amount_due > 0), 0) as past_due,
       count(*) filter (where issue_date between $3 and $2) as recent_count,
       coalesce(sum(total) filter (where issue_date between $3 and $2), 0) as recent
from invoices
where tenant_id = $1
  and ($4::date is null or issue_date >= $4)
  and ($5::date is null or issue_date <= $5)
group by currency, kind, status
