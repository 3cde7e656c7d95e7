-- role/grant
-- {privileges} and {table} are filled in by code from its own lists. Citus grants on the shards as well, also on those that
-- are made or moved later. Nothing is granted on partitions: rows go through their parents.
grant {privileges} on {table} to sheaf_api
