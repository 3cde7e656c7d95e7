-- citus/admin/rebalance_job
-- $1 job, or null for the latest. reason: what a task that failed, or is tried again, has said.
select j.job_id, j.state::text as state, j.started_at, j.finished_at,
    count(t.task_id) as tasks, count(*) filter (where t.status = 'done') as done,
    max(t.retry_count) as retries,
    min(t.message) filter (where t.status = 'error' or (t.status <> 'done' and t.retry_count > 0)) as reason
from pg_dist_background_job j
left join pg_dist_background_task t on t.job_id = j.job_id
where j.job_id = coalesce($1, (select max(job_id) from pg_dist_background_job where job_type = 'rebalance'))
group by j.job_id
