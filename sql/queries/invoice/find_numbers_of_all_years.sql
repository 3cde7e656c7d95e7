-- invoice/find_numbers_of_all_years
-- $1 tenant, $2 numbers. For series that run through the years.
select tenant_id, id, year, number
from invoices
where tenant_id = $1 and number = any($2)
