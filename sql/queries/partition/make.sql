-- partition/make
select sheaf_make_year($1)
