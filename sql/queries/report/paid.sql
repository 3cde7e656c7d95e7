-- report/paid
-- $1 tenant, $2 and $3 first and last day of payment, $4 and $5 first and last day of issue or null. A payment has the
-- currency of its invoice. A set-off is kept as a payment of both documents, but no money moves.
select i.currency, i.kind, count(*) as count, sum(p.amount) as amount
from payments p
join invoices i on i.tenant_id = p.tenant_id and i.year = p.year and i.id = p.invoice_id
where p.tenant_id = $1 and i.tenant_id = $1
  and p.paid_on between $2 and $3 and p.kind <> 'credit'
  and ($4::date is null or i.issue_date >= $4)
  and ($5::date is null or i.issue_date <= $5)
group by i.currency, i.kind
