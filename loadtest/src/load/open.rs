//! The open loop: requests are due at times that no answer moves.
//!
//! One scheduler a thread hands requests that are due to connections that are free; what finds none
//! free waits, and its latency counts from the time at which it was due. So a server that stalls is
//! charged for every request that was due meanwhile, sent or not ("coordinated omission", Gil
//! Tene). How late the scheduler itself was is recorded apart: it is the tool's fault, and a run
//! with much of it is worth nothing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use crate::load::arrivals::{Arrivals, ArrivalsError, Schedule};
use crate::load::http::Server;
use crate::load::material::{MAX_THREADS, Material};
use crate::load::mix::Mix;
use crate::load::stolen::CpuTime;
use crate::load::timer::Timer;
use crate::load::wire::{Head, Wire};
use crate::load::workload;
use crate::load::workload::{CLASSES, Sent, Workload};
use crate::result::record::{Fate, Recording};

/// Connections of one worker at most.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Requests of one thread that wait for a connection at most; more are dropped.
const MAX_WAITING: usize = 1_000_000;
/// The scheduler sleeps for this long at least: several requests that are due within it are sent
/// together.
const QUANTUM: Duration = Duration::from_micros(50);
/// Requests per second of one thread from which the scheduler looks at the clock instead of
/// sleeping between requests: it would sleep hardly at all, and another process that wants the CPU
/// keeps it for milliseconds once it is given away.
const AWAKE_FROM: f64 = 20_000.0;
/// It sleeps when there is nothing to do for longer than this.
const AWAKE_FOR: Duration = Duration::from_millis(1);
/// Requests handed over before connections get a turn, when the scheduler is late.
const BURST: u32 = 16;
/// Before a connection that cannot be opened is tried again.
const RECONNECT: Duration = Duration::from_millis(20);

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to send to.
    pub server: Server,
    /// Requests per second, over all threads.
    pub rate: f64,
    /// How they are spread over time.
    pub arrivals: Arrivals,
    /// Time before measuring starts.
    pub warmup: Duration,
    /// Time that is measured: of requests that are *due* in it.
    pub duration: Duration,
    /// Keep-alive connections over all threads, from 1 to [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// Threads that send, each with a share of rate and connections.
    pub threads: usize,
    /// A request is given up after this.
    pub timeout: Duration,
    /// What is sent.
    pub mix: Mix,
    /// The same seed draws the same operations and arrival times.
    pub seed: u64,
}

/// Why a run did not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No such schedule.
    #[error(transparent)]
    Arrivals(#[from] ArrivalsError),
    /// No such invoices.
    #[error(transparent)]
    Shape(#[from] crate::load::generate::ShapeError),
    /// Too few or too many threads or connections.
    #[error("a run has from 1 to 64 threads, and from one connection a thread to 10,000")]
    Connections,
    /// The server takes no connection, or the system has no timer.
    #[error("cannot connect to {to}: {source}")]
    Connect {
        /// The server.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// A thread that died.
    #[error("a thread of the generator failed")]
    Thread,
}

/// What a run shows while it runs, and the way to end it. Shared by its threads.
#[derive(Debug, Default)]
pub struct Progress {
    /// Requests that were due.
    pub due: AtomicU64,
    /// Right answers.
    pub ok: AtomicU64,
    /// Other ends.
    pub failed: AtomicU64,
    /// Requests that are under way or wait for a connection.
    pub pending: AtomicU64,
    /// Sum of the latencies of right answers, in microseconds.
    pub micros: AtomicU64,
    /// No more requests are sent once this is set.
    pub stop: AtomicBool,
}

/// Runs `plan` to the last answer; blocks the calling thread. Every request ends in
/// [`Plan::timeout`] after it was due twice over at the latest.
///
/// # Errors
/// [`OpenError`].
pub fn run(
    plan: &Plan,
    material: &Arc<Material>,
    progress: &Arc<Progress>,
) -> Result<Recording, OpenError> {
    let possible = (1..=MAX_THREADS).contains(&plan.threads)
        && (plan.threads..=MAX_CONNECTIONS).contains(&plan.connections);
    if !possible {
        return Err(OpenError::Connections);
    }
    let cpu_before = cpu_time();
    let machine_before = CpuTime::now();
    // All threads count from the same moment, which leaves time to connect.
    let start = Instant::now() + Duration::from_millis(50 + plan.connections as u64 / 5);
    let results: Vec<_> = std::thread::scope(|scope| {
        let spawn = |thread| {
            let (material, progress) = (Arc::clone(material), Arc::clone(progress));
            scope.spawn(move || one_thread(plan, material, progress, thread, start))
        };
        let threads: Vec<_> = (0..plan.threads).map(spawn).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or(Err(OpenError::Thread))
        };
        threads.into_iter().map(join).collect()
    });
    let mut recording = Recording::new(plan.duration);
    for result in results {
        recording.add(&result?);
    }
    recording.own.stolen = machine_before
        .zip(CpuTime::now())
        .map(|(before, after)| after.stolen_since(&before));
    recording.own.cpu_cores = share(cpu_time().saturating_sub(cpu_before), start.elapsed());
    Ok(recording)
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    #[cfg(unix)]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
    }
    #[cfg(not(unix))]
    Duration::ZERO
}

// A measurement, not money.
#[allow(clippy::float_arithmetic)]
fn share(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64().max(1e-9)
}

// A rate, not money.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)]
fn per_thread(rate: f64, threads: usize) -> f64 {
    rate / threads.max(1) as f64
}

fn one_thread(
    plan: &Plan,
    material: Arc<Material>,
    progress: Arc<Progress>,
    thread: usize,
    start: Instant,
) -> Result<Recording, OpenError> {
    let connect = |source| OpenError::Connect {
        to: plan.server.authority().to_owned(),
        source,
    };
    let tenants = material.tenants.len();
    let seed = (plan.seed, thread as u64);
    let share = Rc::new(Share {
        plan: plan.clone(),
        tenants,
        start,
        measured_from: start + plan.warmup,
        workload: RefCell::new(Workload::new(
            material,
            &plan.mix,
            plan.server.authority(),
            seed,
        )?),
        queue: RefCell::default(),
        recording: RefCell::new(Recording::new(plan.duration)),
        progress,
    });
    let part = (thread, plan.threads);
    let schedule = Schedule::new(
        plan.arrivals,
        plan.rate,
        plan.warmup,
        plan.duration,
        part,
        plan.seed,
    )?;
    let connections = (thread..plan.connections).step_by(plan.threads).count();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(connect)?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let mut tasks = JoinSet::new();
        for index in 0..connections {
            let wire = Wire::open(&plan.server).await.map_err(connect)?;
            share.queue.borrow_mut().seats.push(None);
            tasks.spawn_local(Rc::clone(&share).connection(index, wire));
        }
        share.schedule(schedule).await.map_err(connect)?;
        while tasks.join_next().await.is_some() {}
        Ok(share.recording.take())
    })
}

/// What the tasks of one thread share.
struct Share {
    plan: Plan,
    tenants: usize,
    start: Instant,
    measured_from: Instant,
    workload: RefCell<Workload>,
    queue: RefCell<Queue>,
    recording: RefCell<Recording>,
    progress: Arc<Progress>,
}

/// A request that is due.
#[derive(Clone, Copy)]
struct Ticket {
    due: Instant,
    /// When the scheduler reached it.
    handed: Instant,
    /// A connection was free then.
    free: bool,
}

/// Requests that wait for a connection, or connections that wait for a request.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Ticket>,
    /// Free connections; the one that was used last is used first.
    free: Vec<usize>,
    /// Wakers of the free ones. A connection is in `free` exactly if it has one here.
    seats: Vec<Option<Waker>>,
    closed: bool,
}

impl Queue {
    fn put(&mut self, due: Instant, handed: Instant) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            return false;
        }
        let waker = self.free.pop().and_then(|index| self.seats[index].take());
        self.waiting.push_back(Ticket {
            due,
            handed,
            free: waker.is_some(),
        });
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    fn take(&mut self, index: usize, waker: &Waker) -> Poll<Option<Ticket>> {
        if let Some(ticket) = self.waiting.pop_front() {
            // It may have been woken for something else than a request.
            if self.seats[index].take().is_some() {
                self.free.retain(|free| *free != index);
            }
            return Poll::Ready(Some(ticket));
        }
        if self.closed {
            return Poll::Ready(None);
        }
        if self.seats[index].replace(waker.clone()).is_none() {
            self.free.push(index);
        }
        Poll::Pending
    }

    fn close(&mut self) {
        self.closed = true;
        self.free.clear();
        self.seats
            .iter_mut()
            .filter_map(Option::take)
            .for_each(Waker::wake);
    }
}

impl Share {
    async fn schedule(&self, schedule: Schedule) -> io::Result<()> {
        let mut timer = Timer::new()?;
        let mut burst = 0;
        let awake = per_thread(self.plan.rate, self.plan.threads) >= AWAKE_FROM;
        for offset in schedule {
            let due = self.start + offset;
            let mut now = Instant::now();
            if due > now {
                burst = 0;
                if awake && due - now < AWAKE_FOR {
                    while now < due {
                        tokio::task::yield_now().await;
                        now = Instant::now();
                    }
                } else {
                    timer.wait(due.max(now + QUANTUM)).await?;
                    now = Instant::now();
                }
            }
            if self.progress.stop.load(Ordering::Relaxed) {
                break;
            }
            self.progress.due.fetch_add(1, Ordering::Relaxed);
            self.progress.pending.fetch_add(1, Ordering::Relaxed);
            if !self.queue.borrow_mut().put(due, now) {
                self.drop_one(due);
            }
            burst += 1;
            if burst >= BURST {
                burst = 0;
                tokio::task::yield_now().await;
            }
        }
        self.queue.borrow_mut().close();
        Ok(())
    }

    async fn next(&self, index: usize) -> Option<Ticket> {
        std::future::poll_fn(|cx| self.queue.borrow_mut().take(index, cx.waker())).await
    }

    /// One connection's loop.
    async fn connection(self: Rc<Self>, index: usize, wire: Wire) {
        let mut wire = Some(wire);
        let mut request = Vec::with_capacity(4 << 10);
        while let Some(ticket) = self.next(index).await {
            let sent_at = Instant::now();
            if sent_at.saturating_duration_since(ticket.due) > self.plan.timeout {
                self.drop_one(ticket.due);
                continue;
            }
            let sent = self.workload.borrow_mut().next(&mut request);
            let exchanged = self.exchange(&mut wire, &request);
            let result = tokio::time::timeout(self.plan.timeout, exchanged).await;
            let done = Instant::now();
            let error = match (&result, &wire) {
                (Ok(Ok(head)), Some(wire)) => self.judge(&sent, head, wire.body()),
                (Ok(_), _) => Some("broken".to_owned()),
                (Err(_), _) => Some("timeout".to_owned()),
            };
            if !matches!(result, Ok(Ok(_))) {
                wire = None;
            }
            let fate = Fate {
                latency: done.saturating_duration_since(ticket.due),
                service: done.saturating_duration_since(sent_at),
                error,
                given_up: result.is_err(),
            };
            self.note(&ticket, sent_at, &sent, &fate);
        }
    }

    /// One exchange, on a new connection if need be. A request that broke on a connection that was
    /// idle is sent once more, as every client with a pool does; all writes carry idempotency keys.
    async fn exchange(&self, wire: &mut Option<Wire>, request: &[u8]) -> io::Result<Head> {
        if let Some(mut open) = wire.take().filter(Wire::is_open) {
            let used = open.is_used();
            let result = open.exchange(request).await;
            if result.is_ok() || !used {
                *wire = Some(open);
                return result;
            }
            self.recording.borrow_mut().own.reconnected += 1;
        }
        let mut open = match Wire::open(&self.plan.server).await {
            Ok(open) => open,
            Err(error) => {
                tokio::time::sleep(RECONNECT).await;
                return Err(error);
            }
        };
        let result = open.exchange(request).await;
        *wire = Some(open);
        result
    }

    /// The error's name; `None` for a right answer.
    fn judge(&self, sent: &Sent, head: &Head, body: &[u8]) -> Option<String> {
        if sent.operation.expects(head.status) {
            self.workload.borrow_mut().learn(sent, head, body);
            return None;
        }
        Some(match workload::member(body, "code") {
            Some(code) => format!("{} {code}", head.status),
            None => head.status.to_string(),
        })
    }

    fn note(&self, ticket: &Ticket, sent_at: Instant, sent: &Sent, fate: &Fate) {
        self.progress.pending.fetch_sub(1, Ordering::Relaxed);
        if fate.error.is_none() {
            let micros = u64::try_from(fate.latency.as_micros()).unwrap_or(u64::MAX);
            self.progress.ok.fetch_add(1, Ordering::Relaxed);
            self.progress.micros.fetch_add(micros, Ordering::Relaxed);
        } else {
            self.progress.failed.fetch_add(1, Ordering::Relaxed);
        }
        let Some(due) = ticket.due.checked_duration_since(self.measured_from) else {
            return;
        };
        let recording = &mut *self.recording.borrow_mut();
        let class =
            (self.tenants > 0).then(|| CLASSES[workload::class_of(sent.tenant, self.tenants)]);
        recording.note(sent.operation.name(), class, due, self.plan.duration, fate);
        let handed = if ticket.free { sent_at } else { ticket.handed };
        recording
            .own
            .lag
            .record(handed.saturating_duration_since(ticket.due));
        if !ticket.free {
            recording
                .own
                .waited
                .record(sent_at.saturating_duration_since(ticket.handed));
        }
        recording.own.replaced += u64::from(sent.instead);
        if fate.error.is_none() {
            recording.invoices += u64::from(sent.invoices);
        }
    }

    /// A request that is not sent any more. Its latency is what its user waited, which is too
    /// short.
    fn drop_one(&self, due: Instant) {
        self.progress.pending.fetch_sub(1, Ordering::Relaxed);
        self.progress.failed.fetch_add(1, Ordering::Relaxed);
        let Some(after) = due.checked_duration_since(self.measured_from) else {
            return;
        };
        let recording = &mut *self.recording.borrow_mut();
        let fate = Fate {
            latency: due.elapsed().max(self.plan.timeout),
            service: Duration::ZERO,
            error: Some("dropped".to_owned()),
            given_up: true,
        };
        recording.note("dropped", None, after, self.plan.duration, &fate);
        recording.own.dropped += 1;
    }
}
