-- tenant/count
select count(*) as tenants from tenants
