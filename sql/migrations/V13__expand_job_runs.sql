-- How the jobs that visit all tenants ended the last time, one row a job: their commands exit, and cannot be asked afterwards.
-- Of the platform, and a reference table on a cluster; a run for one tenant alone leaves nothing here.
create table job_runs (
    job text primary key,
    ended_at timestamptz not null,
    took_ms bigint not null,
    -- Pieces of work that failed, and problems that were found.
    failed bigint not null,
    -- The end of the last run in which nothing failed.
    succeeded_at timestamptz
);
