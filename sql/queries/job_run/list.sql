-- job_run/list
-- A handful of rows.
select job, ended_at, took_ms, failed, succeeded_at from job_runs
