//! The open loop against a server whose delays, stalls and capacity are known.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::Utc;
use sheaf_loadtest::load::arrivals::Arrivals;
use sheaf_loadtest::load::closed;
use sheaf_loadtest::load::closed::Prepared;
use sheaf_loadtest::load::http::Server;
use sheaf_loadtest::load::material::Material;
use sheaf_loadtest::load::mix::Mix;
use sheaf_loadtest::load::open;
use sheaf_loadtest::load::open::{Plan, Progress};
use sheaf_loadtest::load::setup;
use sheaf_loadtest::load::stub;
use sheaf_loadtest::load::stub::{Behaviour, Stall};
use sheaf_loadtest::result::baseline;
use sheaf_loadtest::result::baseline::Change;
use sheaf_loadtest::result::record::Latencies;
use sheaf_loadtest::result::report;
use sheaf_loadtest::result::report::Extras;
use sheaf_loadtest::result::run::{Bounds, Run};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

/// A stub server on a thread of its own, for the rest of the test.
fn start(behaviour: Behaviour) -> Server {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            stub::serve(listener, behaviour).await.unwrap();
        });
    });
    Server::parse(&format!("http://{}", told.recv().unwrap())).unwrap()
}

fn plan(server: &Server, rate: f64, seconds: u64, mix: &str) -> Plan {
    Plan {
        server: server.clone(),
        rate,
        arrivals: Arrivals::Constant,
        warmup: Duration::from_millis(500),
        duration: Duration::from_secs(seconds),
        connections: 64,
        threads: 1,
        timeout: Duration::from_secs(5),
        mix: Mix::parse(mix).unwrap(),
        seed: 1,
    }
}

fn run(plan: &Plan, tenants: u32) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let material = runtime.block_on(async {
        let made = setup::tenants(&plan.server, "admin", tenants, "t-").await;
        Material::gather(&plan.server, made.unwrap(), &plan.mix).await
    });
    let material = Arc::new(material.unwrap());
    let recording = open::run(plan, &material, &Arc::default()).unwrap();
    let count = material.tenants.len();
    Run::new(plan, count, Utc::now(), recording, Bounds::default())
}

/// Latencies in ms of a server with `connections` places, each of which takes `delay`, that does
/// nothing during the first `stall` of every `every`: what must be reported, computed without any
/// of the code under test.
fn expected(
    rate: f64,
    seconds: f64,
    connections: usize,
    delay: f64,
    stall: f64,
    every: f64,
) -> Vec<f64> {
    let mut free = vec![0.0_f64; connections];
    let mut found = Vec::new();
    for n in 0..(rate * seconds) as usize {
        // The measured time begins half a period in, where no stall is near.
        let due = every / 2.0 + n as f64 / rate;
        let (place, at) = free
            .iter()
            .copied()
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap();
        let mut begin = due.max(at);
        if begin % every < stall {
            begin = begin - begin % every + stall;
        }
        free[place] = begin + delay;
        found.push((begin + delay - due) * 1_000.0);
    }
    found.sort_by(f64::total_cmp);
    found
}

/// One measurement at a time: tests run beside one another, in one process or in several, and would
/// measure one another's load.
fn alone() -> std::fs::File {
    let path = std::env::temp_dir().join("sheaf-loadtest-open.lock");
    let file = std::fs::File::create(path).unwrap();
    file.lock().unwrap();
    file
}

/// Runs that may be wrong while the machine had time for them.
const WRONG: usize = 5;
/// Runs at all.
const RUNS: usize = 12;
/// ms by which the machine may be late in a run that counts.
const CALM: f64 = 5.0;

/// Looks at runs until one is as it should be: what a busy machine does to one run it does not do
/// to all, and what the generator does wrong is wrong in each. Runs in which the machine itself was
/// late by much tell nothing, and do not count. Along with a run goes what the machine excuses in
/// it, in ms: nothing up to 1 ms. Builds beside a test make generator and server late; how late is
/// told by the generator, and by a thread of its own that only sleeps.
fn one_is(plan: impl Fn() -> Plan, right: impl Fn(&Run, f64) -> Result<(), String>) {
    let (mut wrong, mut calm) = (Vec::new(), 0);
    while calm < WRONG && wrong.len() < RUNS {
        let over = AtomicBool::new(false);
        let (tried, asleep) = std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| oversleeps(&over));
            let tried = run(&plan(), 0);
            over.store(true, Ordering::Relaxed);
            (tried, sleeper.join().unwrap())
        });
        let late = tried.recording.own.lag.ms(0.99).max(asleep);
        let excused = if late < 1.0 { 0.0 } else { 3.0 * late };
        calm += usize::from(late < CALM);
        match right(&tried, excused) {
            Ok(()) => return,
            Err(why) => wrong.push(format!("{excused} ms excused: {why}")),
        }
    }
    assert!(calm == 0, "{wrong:#?}");
    eprintln!("the machine had no time for a single run: {wrong:#?}");
}

/// `Err` with what was found, unless it is right.
fn when(right: bool, found: impl std::fmt::Debug) -> Result<(), String> {
    right.then_some(()).ok_or_else(|| format!("{found:?}"))
}

/// How much longer than asked for the machine lets a thread sleep, 99th percentile in ms.
fn oversleeps(over: &AtomicBool) -> f64 {
    let nap = Duration::from_millis(2);
    let mut naps = Latencies::default();
    while !over.load(Ordering::Relaxed) {
        let begun = std::time::Instant::now();
        std::thread::sleep(nap);
        naps.record(begun.elapsed().saturating_sub(nap));
    }
    naps.ms(0.99)
}

#[test]
fn percentiles_are_right_within_two_percent_where_a_closed_loop_is_wrong() {
    let _alone = alone();
    let (delay, stall, every) = (0.025, 0.8, 4.0);
    let stalls = |delay| {
        start(Behaviour {
            delay: Duration::from_secs_f64(delay),
            stall: Some(Stall {
                every: Duration::from_secs_f64(every),
                lasting: Duration::from_secs_f64(stall),
            }),
            ..Behaviour::default()
        })
    };
    let right = expected(200.0, 8.0, 64, delay, stall, every);
    let truth = |quantile: f64| {
        let rank = quantile * right.len() as f64;
        right[(rank.max(0.0) as usize).min(right.len() - 1)]
    };
    // Two whole periods.
    let paced = || Plan {
        warmup: Duration::from_secs(2),
        ..plan(&stalls(delay), 200.0, 8, "ping=1")
    };
    one_is(paced, |run, excused| {
        let latency = &run.recording.all.latency;
        assert_eq!(latency.count(), 1_600);
        for quantile in [0.25, 0.5, 0.75, 0.85, 0.9, 0.95, 0.99, 0.999] {
            // Four requests more or less within a stall, which begins by the server's clock, are no
            // fault: where the distribution is steep they move a quantile.
            let [least, most] = [-0.0025, 0.0025].map(|by| truth(quantile + by));
            let found = latency.ms(quantile);
            let close = (least * 0.98 - excused..=most * 1.02 + excused).contains(&found);
            when(close, (quantile, least, found, most))?;
        }
        // The service time shows what counting from the sending would: the stall concerns the
        // requests in flight alone.
        let service = run.recording.all.service.ms(0.85);
        when(service < 40.0 + excused, service)?;
        when(latency.ms(0.9) > 300.0, latency.ms(0.9))
    });
    // And a closed loop does not see it at all: in two stalls, 16 requests of ten thousand, on a
    // slow machine of some thousand.
    let closed = closed_loop(&stalls(0.005));
    assert!(closed.p50_ms < 60.0 && closed.p99_ms < 300.0, "{closed:?}");
    assert!(truth(0.99) > 700.0 && closed.max_ms > 700.0);
}

/// What a tool with eight connections reports that sends when the last answer is in, over two
/// periods.
fn closed_loop(server: &Server) -> closed::Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let tenants = setup::tenants(server, "admin", 1, "t-").await.unwrap();
        let invoice = (0, uuid::Uuid::new_v4());
        let requests = Prepared::reads(&[invoice], &tenants).unwrap();
        let plan = closed::Plan {
            server: server.clone(),
            connections: 8,
            warmup: Duration::from_secs(2),
            duration: Duration::from_secs(8),
            rate: None,
            requests,
        };
        closed::run(plan).await.unwrap()
    })
}

#[test]
fn every_operation_gets_its_right_answer_and_is_counted_once() {
    let _alone = alone();
    let server = start(Behaviour::default());
    let mix = "create=40,retry=5,bulk=2,pay=20,get_hot=25,list=8";
    let plan = Plan {
        arrivals: Arrivals::Poisson,
        threads: 2,
        ..plan(&server, 1_000.0, 2, mix)
    };
    let run = run(&plan, 150);
    let recording = &run.recording;
    assert_eq!(recording.all.failed(), 0, "{:?}", recording.all.errors);
    assert_eq!(recording.operations.len(), 6);
    let sum: u64 = recording.operations.values().map(|series| series.ok).sum();
    let classes: u64 = recording.classes.values().map(|series| series.ok).sum();
    let due: u64 = recording
        .intervals
        .iter()
        .map(|interval| interval.due)
        .sum();
    let blocks: u64 = recording
        .blocks
        .values()
        .flatten()
        .map(|block| block.count())
        .sum();
    assert_eq!(
        (sum, classes, due, blocks),
        (
            recording.all.ok,
            recording.all.ok,
            recording.all.ok,
            recording.all.ok
        )
    );
    // 2,000 in the mean, with a deviation of 45.
    assert!((1_800..2_200).contains(&sum), "{sum}");
    let ok = |name: &str| recording.operations[name].ok;
    assert_eq!(recording.invoices, ok("create") + 100 * ok("bulk"));
    // Zipf: the first two of 150 tenants, the largest 1%, have 1/H(150) = 18% of the requests.
    assert!(recording.classes["largest 1%"].ok * 10 > sum);
}

#[test]
fn refusals_are_errors_by_name_and_no_latencies() {
    let _alone = alone();
    let server = start(Behaviour {
        refuse_every: 10,
        ..Behaviour::default()
    });
    let run = run(&plan(&server, 400.0, 2, "ping=1"), 0);
    let all = &run.recording.all;
    assert_eq!((all.ok + all.failed(), all.latency.count()), (800, all.ok));
    assert!(all.failed().abs_diff(80) <= 1);
    assert_eq!(all.errors["503 overloaded"], all.failed());
}

#[test]
fn an_overloaded_server_is_charged_for_what_it_kept_waiting() {
    let _alone = alone();
    // 4 at a time, 20 ms each: 200 a second. Asked for 400, it is a second behind after two.
    let slow = Behaviour {
        delay: Duration::from_millis(20),
        parallel: 4,
        ..Behaviour::default()
    };
    let asked = || Plan {
        warmup: Duration::ZERO,
        ..plan(&start(slow), 400.0, 2, "ping=1")
    };
    one_is(asked, |run, _| {
        assert_eq!(run.recording.all.ok, 800);
        assert!(run.recording.all.latency.max_ms() > 1_900.0);
        for rate in [run.accepted_rate(), run.drained_rate()] {
            when((120.0..=205.0).contains(&rate), rate)?;
        }
        when(run.recording.drain_s > 1.5, run.recording.drain_s)
    });
}

#[test]
fn a_server_that_does_not_answer_makes_timeouts_that_count_and_an_invalid_run() {
    let _alone = alone();
    let server = start(Behaviour {
        delay: Duration::from_secs(60),
        ..Behaviour::default()
    });
    let plan = Plan {
        timeout: Duration::from_millis(300),
        connections: 10,
        warmup: Duration::ZERO,
        ..plan(&server, 200.0, 1, "ping=1")
    };
    let run = run(&plan, 0);
    let all = &run.recording.all;
    assert_eq!((all.ok, all.failed(), all.latency.count()), (0, 200, 200));
    assert_eq!(all.errors["timeout"] + all.errors["dropped"], 200);
    assert!(run.recording.own.dropped > 100 && !run.is_valid());
    assert!(all.latency.ms(0.01) >= 300.0, "{}", all.latency.ms(0.01));
    // A busy machine may be a reason as well.
    let unsent = run.invalid.iter().any(|why| why.contains("never sent"));
    assert!(unsent, "{:?}", run.invalid);
}

#[test]
fn workers_merge_and_a_file_keeps_everything() {
    let _alone = alone();
    let server = start(Behaviour {
        delay: Duration::from_millis(5),
        ..Behaviour::default()
    });
    let one = run(&plan(&server, 200.0, 2, "create=1,get_hot=1"), 3);
    let two = run(&plan(&server, 300.0, 2, "create=1,get_hot=1"), 3);
    let path = std::env::temp_dir().join(format!("run-{}.json", uuid::Uuid::new_v4()));
    one.save(&path).unwrap();
    let mut both = Run::load(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(both.recording.all, one.recording.all);
    assert_eq!(both.recording.blocks, one.recording.blocks);
    assert_eq!(both.recording.intervals, one.recording.intervals);
    both.merge(&two).unwrap();
    assert_eq!(both.recording.all.ok, 1_000);
    assert_eq!(both.recording.all.latency.count(), 1_000);
    assert_eq!((both.workers, both.settings.rate), (2, 500.0));
    let short = run(&plan(&server, 100.0, 1, "ping=1"), 0);
    assert!(both.merge(&short).unwrap_err().contains("cannot be merged"));
    let html = report::html(&both, &Extras::default());
    assert!(html.starts_with("<!doctype html>") && html.matches("<svg").count() == 5);
    assert!(!html.contains("http://") && !html.contains("<script"));
}

#[test]
fn a_slower_server_is_worse_than_the_baseline_and_the_same_one_is_not() {
    let _alone = alone();
    let server = |micros| {
        start(Behaviour {
            delay: Duration::from_micros(micros),
            ..Behaviour::default()
        })
    };
    let of = |server: &Server| run(&plan(server, 500.0, 3, "ping=1"), 0);
    let (usual, slow) = (server(10_000), server(20_000));
    let mut found = Vec::new();
    // Three runs beside a busy machine may differ by chance.
    while found.last() != Some(&(Change::Same, Change::Worse)) {
        assert!(found.len() < 10, "{found:?}");
        let (before, again, slower) = (of(&usual), of(&usual), of(&slow));
        let change = |now: &Run| {
            let found = baseline::compare(&before, now, 0.05);
            let p50 = found
                .into_iter()
                .find(|comparison| comparison.figure == "ping.p50");
            p50.unwrap().change
        };
        found.push((change(&again), change(&slower)));
    }
}

#[test]
fn a_run_that_is_stopped_ends_at_once() {
    let _alone = alone();
    let server = start(Behaviour::default());
    let progress = Arc::new(Progress::default());
    let stop = Arc::clone(&progress);
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(800));
        stop.stop.store(true, Ordering::Relaxed);
    });
    let begun = std::time::Instant::now();
    let plan = plan(&server, 100.0, 60, "ping=1");
    open::run(&plan, &Arc::new(Material::default()), &progress).unwrap();
    stopper.join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
}
