-- role/see_activity
-- Up to when events are complete is read from all open transactions (event/horizon.sql): those of other users as well.
grant pg_read_all_stats to sheaf_api
