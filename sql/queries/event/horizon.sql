-- event/horizon
-- Up to when the events of this node are complete. An event carries the time of its insert, which is after the start of
-- its transaction and after that took its id: so no open transaction can still bring an event from before the oldest
-- start. Half a second is for clocks that differ (a statement that Citus routed carries the coordinator's time). A
-- two-phase commit that is pending says only when it was prepared; its rows are not an hour older.
select least(
    clock_timestamp(),
    (select min(xact_start) from pg_stat_activity where datname = current_database() and backend_xid is not null),
    (select min(prepared) - interval '1 hour' from pg_prepared_xacts where database = current_database())
) - interval '500 milliseconds'
