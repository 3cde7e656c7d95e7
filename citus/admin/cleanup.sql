-- citus/admin/cleanup
-- Drops at once what moves have left behind; Citus itself would a little later.
call citus_cleanup_orphaned_resources()
