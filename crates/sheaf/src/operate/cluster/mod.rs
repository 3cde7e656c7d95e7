//! `sheaf cluster`: the Citus cluster by hand, through the database.

pub(crate) mod draw;
pub(crate) mod progress;

use std::future::Future;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount};
use serde_json::json;
use sheaf_model::TenantId;
use sheaf_store::{AdminError, ClusterAdmin, Move, NodeAddress, Rebalance, TenantPlace};

use crate::cli::{
    AddNodeArgs, ClusterCommand, ClusterStatusArgs, DrainNodeArgs, IsolateTenantArgs,
    MoveTenantArgs, Output, RebalanceArgs,
};
use crate::error::{Error, Result};
use crate::serve::signals::Stop;
use crate::terminal::bar::Waiting;
use crate::terminal::output;
use progress::Progress;

const POLL: Duration = Duration::from_millis(500);

impl From<AdminError> for Error {
    fn from(error: AdminError) -> Self {
        Self::new(error.to_string())
    }
}

/// Runs one of the commands.
pub(crate) async fn run(command: ClusterCommand) -> Result<ExitCode> {
    match command {
        ClusterCommand::Status(args) => status(&args).await,
        ClusterCommand::AddNode(args) => add_node(&args).await,
        ClusterCommand::DrainNode(args) => drain_node(&args).await,
        ClusterCommand::Rebalance(args) => rebalance(&args).await,
        ClusterCommand::MoveTenant(args) => move_tenant(&args).await,
        ClusterCommand::IsolateTenant(args) => isolate_tenant(&args).await,
    }
}

async fn status(args: &ClusterStatusArgs) -> Result<ExitCode> {
    let admin = ClusterAdmin::connect(&args.database.database_url).await?;
    let waiting = Waiting::new("asking every node");
    let status = admin.status().await?;
    drop(waiting);
    if args.json || args.output == Some(Output::Json) {
        output::json(&status)?;
    } else {
        output::line(draw::status(&status).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn add_node(args: &AddNodeArgs) -> Result<ExitCode> {
    let admin = ClusterAdmin::connect(&args.database.database_url).await?;
    let waiting = Waiting::new("the node joins, and gets a copy of the reference tables");
    let added = admin.add_node(&args.node.address()).await?;
    drop(waiting);
    output::print(&added, args.output.output)?;
    output::note(&format!(
        "{} is in the cluster and holds no shards yet: \
                 `sheaf cluster rebalance` moves some onto it",
        added.node
    ));
    for (from, to) in &added.cannot_connect {
        output::note(&format!(
            "{from} cannot log in to {to}: moves between them will fail; see pg_hba.conf and the \
            password file there"
        ));
    }
    Ok(if added.cannot_connect.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn rebalance(args: &RebalanceArgs) -> Result<ExitCode> {
    let admin = ClusterAdmin::connect(&args.database.database_url).await?;
    if args.dry_run {
        let plan = admin.rebalance_plan().await?;
        if args.output.output == Some(Output::Table) {
            output::line(&draw::plan(&plan))?;
        } else {
            output::json(&plan)?;
            output::note(&draw::plan(&plan));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.stop {
        admin.stop_rebalance().await?;
        output::note("the rebalance is stopped; the moves that were done stay done");
        return Ok(ExitCode::SUCCESS);
    }
    admin.require_citus()?;
    let mut stop = Stop::new()?;
    let running = admin.rebalance(None).await?.filter(Rebalance::is_running);
    let job = if let Some(running) = running {
        output::note("a rebalance is running already; this one is followed");
        Some(running.job_id)
    } else {
        admin.start_rebalance(false).await?
    };
    let Some(job) = job else {
        output::note("the cluster is in balance: there is nothing to move");
        let balanced = json!({"job_id": null, "state": "balanced", "tasks": 0, "done": 0});
        output::print(&balanced, args.output.output)?;
        return Ok(ExitCode::SUCCESS);
    };
    match follow(&admin, job, &mut stop).await? {
        Some(rebalance) => {
            output::print(&rebalance, args.output.output)?;
            Ok(ExitCode::SUCCESS)
        }
        None => Ok(left_running()),
    }
}

async fn drain_node(args: &DrainNodeArgs) -> Result<ExitCode> {
    let admin = ClusterAdmin::connect(&args.database.database_url).await?;
    let node = args.node.address();
    admin.require_citus()?;
    if let Some(running) = admin.rebalance(None).await?.filter(Rebalance::is_running) {
        let job = running.job_id;
        return Err(Error::new(format!(
            "a rebalance is running (job {job}): wait for it, or stop it by `sheaf cluster \
            rebalance --stop`"
        )));
    }
    if args.remove {
        admin.check_removable(&node).await?;
    }
    admin.mark_for_drain(&node).await?;
    let mut stop = Stop::new()?;
    let job = admin.start_rebalance(true).await?;
    let moved = match job {
        None => 0,
        Some(job) => match follow(&admin, job, &mut stop).await? {
            Some(done) => done.done,
            None => return Ok(left_running()),
        },
    };
    if args.remove {
        admin.remove_node(&node).await?;
    }
    let drained = json!({"node": node, "job_id": job, "moved": moved, "removed": args.remove});
    output::print(&drained, args.output.output)?;
    if !args.remove {
        output::note(&format!(
            "{node} holds no shards and will get none; --remove takes it out of the cluster"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn move_tenant(args: &MoveTenantArgs) -> Result<ExitCode> {
    let url = &args.database.database_url;
    let admin = ClusterAdmin::connect(url).await?;
    let place = admin.tenant_place(args.tenant).await?;
    let to = args.node.address();
    admin.check_target(&to).await?;
    say_company(&place);
    let moved = move_place(&admin, url, &place, &to).await?;
    let done = json!({
        "tenant_id": place.tenant_id,
        "name": place.name,
        "shard_id": place.shard_id,
        "from": place.node,
        "to": to,
        "other_tenants": place.tenants - 1,
        "bytes": place.bytes,
        "moved": moved.is_some(),
        "milliseconds": moved.unwrap_or_default().as_millis(),
    });
    output::print(&done, args.output.output)?;
    Ok(ExitCode::SUCCESS)
}

async fn isolate_tenant(args: &IsolateTenantArgs) -> Result<ExitCode> {
    let url = &args.database.database_url;
    let admin = ClusterAdmin::connect(url).await?;
    let before = admin.tenant_place(args.tenant).await?;
    let to = args.to()?;
    if let Some(to) = &to {
        admin.check_target(to).await?;
    }
    let split = if before.isolated {
        output::note(&format!(
            "{} has a shard group of its own already",
            named(&before)
        ));
        None
    } else {
        Some(split(&admin, url, args.tenant, &before).await?)
    };
    let place = admin.tenant_place(args.tenant).await?;
    let target = to.unwrap_or_else(|| place.node.clone());
    let moved = move_place(&admin, url, &place, &target).await?;
    let done = json!({
        "tenant_id": place.tenant_id,
        "name": place.name,
        "shard_id": place.shard_id,
        "from_shard_id": before.shard_id,
        "from": before.node,
        "node": target,
        "bytes": place.bytes,
        "split": split.is_some(),
        "split_milliseconds": split.unwrap_or_default().as_millis(),
        "moved": moved.is_some(),
        "move_milliseconds": moved.unwrap_or_default().as_millis(),
    });
    output::print(&done, args.output.output)?;
    Ok(ExitCode::SUCCESS)
}

async fn split(
    admin: &ClusterAdmin,
    url: &str,
    tenant: TenantId,
    before: &TenantPlace,
) -> Result<Duration> {
    output::note(&format!(
        "splitting shard group {} ({}) with its {} tenants on {}",
        before.shard_id,
        size(before.bytes),
        HumanCount(u64::try_from(before.tenants).unwrap_or(0)),
        before.node
    ));
    let begun = Instant::now();
    watched(admin, url, admin.isolate(tenant)).await?;
    Ok(begun.elapsed())
}

/// Moves a group unless it is there; answers how long that took.
async fn move_place(
    admin: &ClusterAdmin,
    url: &str,
    place: &TenantPlace,
    to: &NodeAddress,
) -> Result<Option<Duration>> {
    if place.node == *to {
        return Ok(None);
    }
    let begun = Instant::now();
    let work = admin.move_group(place.shard_id, &place.node, to);
    watched(admin, url, work).await?;
    Ok(Some(begun.elapsed()))
}

/// Says who comes along.
fn say_company(place: &TenantPlace) {
    let company = match place.tenants - 1 {
        0 => "no other tenant".to_owned(),
        1 => "1 other tenant".to_owned(),
        others => format!(
            "{} other tenants",
            HumanCount(u64::try_from(others).unwrap_or(0))
        ),
    };
    output::note(&format!(
        "{} shares shard group {} on {} ({}) with {company}; the group moves as a whole",
        named(place),
        place.shard_id,
        place.node,
        size(place.bytes)
    ));
}

fn named(place: &TenantPlace) -> String {
    format!("tenant {} ({})", place.tenant_id, place.name)
}

fn size(bytes: Option<i64>) -> String {
    bytes.map_or_else(
        || "size unknown".to_owned(),
        |bytes| HumanBytes(u64::try_from(bytes).unwrap_or(0)).to_string(),
    )
}

/// Shows a background job until it ends. `None` when the person at the terminal would not wait.
async fn follow(admin: &ClusterAdmin, job: i64, stop: &mut Stop) -> Result<Option<Rebalance>> {
    let progress = Progress::new();
    let mut last_reason = None;
    loop {
        let now = admin.rebalance(Some(job)).await?;
        let now = now.ok_or_else(|| Error::new(format!("rebalance job {job} is gone")))?;
        // A shard that goes while it is looked at makes Citus fail; the next look will do.
        let moves = admin.moves().await.unwrap_or_default();
        progress.show(Some((now.done, now.tasks)), &moves);
        if now.is_running() && now.reason.is_some() && now.reason != last_reason {
            last_reason.clone_from(&now.reason);
            let reason = now.reason.as_deref().unwrap_or_default();
            progress.note(&format!("a move failed and is tried again: {reason}"));
        }
        if !now.is_running() {
            progress.finish();
            return ended(now).map(Some);
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = stop.requested() => {
                progress.finish();
                return Ok(None);
            }
        }
    }
}

fn ended(rebalance: Rebalance) -> Result<Rebalance> {
    let Rebalance {
        job_id,
        state,
        tasks,
        done,
        reason,
        ..
    } = &rebalance;
    match state.as_str() {
        "finished" => Ok(rebalance),
        "cancelled" => Err(Error::new(format!(
            "rebalance job {job_id} was stopped after {done} of {tasks} moves"
        ))),
        _ => Err(Error::new(format!(
            "rebalance job {job_id} failed after {done} of {tasks} moves: {}",
            reason.as_deref().unwrap_or("Citus gave no reason")
        ))),
    }
}

/// Ctrl-C while a background job runs.
fn left_running() -> ExitCode {
    output::note(
        "the moves go on in the background: `sheaf cluster status` shows them, `sheaf cluster \
        rebalance --stop` stops them",
    );
    ExitCode::FAILURE
}

/// Does `work` in `admin`'s session with its progress shown from a second one. Ctrl-C cancels it.
async fn watched<T>(
    admin: &ClusterAdmin,
    url: &str,
    work: impl Future<Output = std::result::Result<T, AdminError>>,
) -> Result<T> {
    let mut stop = Stop::new()?;
    let session = admin.session().await?;
    let watcher = ClusterAdmin::connect(url).await?;
    let progress = Progress::new();
    let mut work = std::pin::pin!(work);
    let mut cancelled = false;
    loop {
        tokio::select! {
            outcome = &mut work => {
                progress.finish();
                return match outcome {
                    Err(_) if cancelled => Err(Error::new("stopped as asked: nothing has moved")),
                    outcome => Ok(outcome?),
                };
            }
            () = stop.requested(), if !cancelled => {
                cancelled = true;
                progress.note("stopping");
                admin.canceller().cancel().await;
            }
            () = tokio::time::sleep(POLL) => {
                let moves = watcher.moves().await.unwrap_or_default();
                let own: Vec<Move> =
                    moves.into_iter().filter(|one| one.session == session).collect();
                progress.show(None, &own);
            }
        }
    }
}
