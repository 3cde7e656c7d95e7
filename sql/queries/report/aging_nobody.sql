-- report/aging_nobody
-- $1 tenant, $2 the day that is looked from, $3 cursor (currency), $4 limit. Of invoices that name no customer.
select customer_id, currency,
       coalesce(sum(amount_due) filter (where kind = 'invoice' and (due_date is null or due_date >= $2)), 0) as current,
       coalesce(sum(amount_due) filter (where kind = 'invoice' and due_date between $2::date - 30 and $2::date - 1), 0) as d30,
       coalesce(sum(amount_due) filter (where kind = 'invoice' and due_date between $2::date - 60 and $2::date - 31), 0) as d60,
       coalesce(sum(amount_due) filter (where kind = 'invoice' and due_date between $2::date - 90 and $2::date - 61), 0) as d90,
       coalesce(sum(amount_due) filter (where kind = 'invoice' and due_date < $2::date - 90), 0) as older,
       coalesce(sum(amount_due) filter (where kind = 'credit_note'), 0) as credit,
       count(*) filter (where kind = 'invoice') as invoices
from invoices
where tenant_id = $1 and status in ('issued', 'partially_paid')
  and customer_id is null and currency > $3
group by customer_id, currency
order by currency
limit $4
