-- invoice/list
-- $1 tenant, $2 first id that is too late (the cursor), $3 limit; each further condition holds unless it is null.
-- Newest first: ids carry the date. The cursor is a bound of the index even where the plan knows no parameters; with
-- `$2 is null or ...` every page would read all pages before it.
-- The placeholder takes, for overdue invoices, `and kind = 'invoice' and status in (...) and due_date < $n`, and before that for each key `and (metadata @> $n or metadata @> $n+1)`: the value as text, or as the scalar it reads as.
select tenant_id, id, external_id, number, kind, status, currency, customer_id, customer_external_id, customer_name,
       customer_email, customer_tax_id, customer_address, customer_country, issue_date, due_date, subtotal,
       discount_total, tax_total, total, amount_paid, amount_due, metadata, version, created_at, modified_at,
       line_count, payment_count, credits, discount, discount_percent, amount_credited, tax_rounding,
       profile_version, credited
from invoices
where tenant_id = $1
  and id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
  and ($4::text is null or status = $4)
  and ($5::text is null or kind = $5)
  and ($6::uuid is null or customer_id = $6)
  and ($7::text is null or number = $7)
  and ($8::text is null or external_id = $8)
  and ($9::date is null or issue_date >= $9)
  and ($10::date is null or issue_date <= $10)
{metadata}order by id desc
limit $3
