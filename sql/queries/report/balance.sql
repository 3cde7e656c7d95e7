-- report/balance
-- $1 tenant, $2 customers, $3 today. By currency: invoices that were issued and not withdrawn, and what credit notes
-- still have to give.
select currency,
       coalesce(sum(total) filter (where kind = 'invoice'), 0) as invoiced,
       coalesce(sum(amount_paid) filter (where kind = 'invoice'), 0) as paid,
       coalesce(sum(amount_due) filter (where kind = 'invoice'), 0) as due,
       coalesce(sum(amount_due) filter (where kind = 'invoice' and due_date < $3), 0) as overdue,
       coalesce(sum(amount_due) filter (where kind = 'credit_note'), 0) as credit
from invoices
where tenant_id = $1 and customer_id = any($2) and status in ('issued', 'partially_paid', 'paid')
group by currency
order by currency
