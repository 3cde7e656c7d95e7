-- partition/early
-- {table} and {years} are filled in by code. One partition of all early years that have none of their own: whatever dates
-- documents have, there are no more tables for that.
create table if not exists {table}_early partition of {table} for values in ({years})
