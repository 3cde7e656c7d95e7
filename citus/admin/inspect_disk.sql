-- citus/admin/inspect_disk
-- The disk of the node's data directory, in bytes.
select available_disk_size as free, total_disk_size as total
from citus_local_disk_space_stats()
