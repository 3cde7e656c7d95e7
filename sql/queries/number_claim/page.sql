-- number_claim/page
-- $1 tenant, $2 $3 number and year of the last row of the page before, $4 limit.
select number, issue_year, invoice_id
from number_claims
where tenant_id = $1 and (number, issue_year) > ($2, $3)
order by number, issue_year
limit $4
