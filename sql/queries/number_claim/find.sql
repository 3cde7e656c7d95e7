-- number_claim/find
-- $1 tenant, $2 year of issue, $3 numbers of a batch. The columns are those of invoice/find_numbers.
select tenant_id, invoice_id, issue_year, number
from number_claims
where tenant_id = $1 and issue_year = $2 and number = any($3)
