-- cluster/schema_version
-- The newest migration, and the newest that a binary which does not know it cannot live with: an expand step it can
-- (sql/README.md).
select coalesce(max(version), 0)::integer,
       coalesce(max(version) filter (where name not like 'expand\_%'), 0)::integer
from refinery_schema_history
