-- job_run/record
-- $1 job, $2 its end, $3 milliseconds, $4 what failed. A run that failed leaves the time of the last success as it was.
insert into job_runs (job, ended_at, took_ms, failed, succeeded_at)
values ($1, $2::timestamptz, $3, $4::bigint, case when $4::bigint = 0 then $2::timestamptz end)
on conflict (job) do update
set ended_at = excluded.ended_at, took_ms = excluded.took_ms, failed = excluded.failed,
    succeeded_at = coalesce(excluded.succeeded_at, job_runs.succeeded_at)
