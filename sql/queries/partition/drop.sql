-- partition/drop
drop table {table}_y{year}
