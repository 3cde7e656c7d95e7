//! How jobs ended is kept, and told to the API's login as well.

use std::time::Duration;

use sheaf_store::{Job, JobRun, Store, StoreConfig};

use crate::support::{now, store};

async fn last(store: &Store, job: Job) -> Option<JobRun> {
    let runs = store.job_runs().await.unwrap();
    runs.into_iter().find(|run| run.job == job.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_leaves_the_last_success_as_it_was() {
    let owner = store().await;
    // No other test works with this job.
    let (job, before) = (Job::Compact, now());
    let took = Duration::from_millis(1_500);
    owner.record_job_run(job, took, 0).await.unwrap();
    let api = Store::connect(StoreConfig::new(sheaf_local::test_env().api_database_url))
        .await
        .unwrap();
    let succeeded = last(&api, job).await.expect("the run is kept");
    assert_eq!((succeeded.took, succeeded.failed), (took, 0));
    assert!(succeeded.ended_at >= before);
    assert_eq!(succeeded.succeeded_at, Some(succeeded.ended_at));

    owner.record_job_run(job, took * 2, 3).await.unwrap();
    let failed = last(&api, job).await.expect("the run is kept");
    assert_eq!((failed.took, failed.failed), (took * 2, 3));
    assert!(failed.ended_at >= succeeded.ended_at);
    assert_eq!(failed.succeeded_at, succeeded.succeeded_at);
    api.close().await;
    owner.close().await;
}
