-- partition/empty
-- Events outlive nothing: those of an archived invoice have left with it.
select not exists (select 1 from {table}_y{year})
