-- role/keep_events
-- Events are written and read, whatever was granted by hand.
revoke update, delete, truncate on events from sheaf_api
