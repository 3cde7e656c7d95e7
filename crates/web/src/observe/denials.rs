//! Denials as events. What is refused to a credential of a known tenant goes into that tenant's
//! audit trail, in the background: one caller on one route for one reason within a minute is one
//! event with a count, and what waits is bounded, so that a flood of denials is no flood of writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::Method;
use chrono::{DateTime, Utc};
use serde_json::json;
use sheaf_model::{Code, TenantId};
use sheaf_store::{NewEvent, Origin, Store};
use tokio_util::sync::CancellationToken;

use crate::auth::caller::TenantAuth;
use crate::clock::Clock;

/// Windows that are open, over all tenants.
const MAX_OPEN: usize = 10_000;
/// Windows that one tenant may have open: its flood takes no other tenant's room.
const MAX_OPEN_OF_TENANT: usize = 100;
/// Attempts to write an event before it is given up.
const ATTEMPTS: u32 = 5;

/// What one event counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    actor: Arc<str>,
    method: Method,
    route: Box<str>,
    code: Code,
}

#[derive(Clone, Debug)]
struct Window {
    opened: Instant,
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
    count: u64,
    request_id: Arc<str>,
}

#[derive(Default)]
struct Open {
    tenants: HashMap<TenantId, HashMap<Key, Window>>,
    windows: usize,
}

/// A request that was refused.
pub(crate) struct Denial<'a> {
    pub(crate) method: &'a Method,
    /// The route's template.
    pub(crate) route: &'a str,
    pub(crate) code: Code,
    pub(crate) request_id: &'a Arc<str>,
}

/// Denials on their way into the audit trail.
pub(crate) struct Denials {
    open: Mutex<Open>,
    window: Duration,
    clock: Clock,
}

impl Denials {
    pub(crate) fn new(window: Duration, clock: Clock) -> Self {
        Self {
            open: Mutex::default(),
            window,
            clock,
        }
    }

    /// Notes a denial. One that names no known tenant is logged and counted, no more.
    pub(crate) fn note(&self, auth: Option<&TenantAuth>, denial: &Denial<'_>) {
        let known = if auth.is_some() { "known" } else { "unknown" };
        metrics::counter!("sheaf_denials_total", "code" => denial.code.as_str(), "tenant" => known)
            .increment(1);
        let Some(auth) = auth else {
            tracing::info!(
                target: "sheaf::denied",
                method = %denial.method,
                route = denial.route,
                code = denial.code.as_str(),
                request_id = %denial.request_id,
                "denied"
            );
            return;
        };
        if !self.open(auth, denial) {
            dropped(1);
        }
    }

    /// Counts the denial in its window, which is opened if there is room.
    fn open(&self, auth: &TenantAuth, denial: &Denial<'_>) -> bool {
        let now = self.clock.now();
        let key = Key {
            actor: Arc::clone(&auth.actor),
            method: denial.method.clone(),
            route: denial.route.into(),
            code: denial.code,
        };
        let mut open = self.lock();
        let windows = open.windows;
        let of_tenant = open.tenants.entry(auth.tenant_id).or_default();
        if let Some(window) = of_tenant.get_mut(&key) {
            window.count += 1;
            window.last_at = now;
            return true;
        }
        let room = windows < MAX_OPEN && of_tenant.len() < MAX_OPEN_OF_TENANT;
        if room {
            let window = Window {
                opened: Instant::now(),
                first_at: now,
                last_at: now,
                count: 1,
                request_id: Arc::clone(denial.request_id),
            };
            of_tenant.insert(key, window);
            open.windows += 1;
        } else if of_tenant.is_empty() {
            open.tenants.remove(&auth.tenant_id);
        }
        room
    }

    /// Takes out the windows that have been open for their time, or all.
    fn close(&self, all: bool) -> Vec<(TenantId, Vec<NewEvent>)> {
        let mut open = self.lock();
        let mut closed = Vec::new();
        for (tenant, windows) in &mut open.tenants {
            let due = windows.extract_if(|_, window| all || window.opened.elapsed() >= self.window);
            let events: Vec<NewEvent> = due
                .map(|(key, window)| event(*tenant, &key, &window))
                .collect();
            if !events.is_empty() {
                closed.push((*tenant, events));
            }
        }
        open.tenants.retain(|_, windows| !windows.is_empty());
        open.windows = open.tenants.values().map(HashMap::len).sum();
        closed
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes windows as they close, until `stop`; then all that are open.
    pub(crate) async fn run(&self, store: &Store, stop: CancellationToken) {
        let tick = (self.window / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
        // What could not be written waits here; the bound of open windows bounds it as well.
        let mut waiting: Vec<(TenantId, Vec<NewEvent>, u32)> = Vec::new();
        loop {
            let last = tokio::select! {
                () = tokio::time::sleep(tick) => false,
                () = stop.cancelled() => true,
            };
            let closed = self.close(last).into_iter();
            let mut failed = Vec::new();
            for (tenant, events, attempts) in waiting
                .drain(..)
                .chain(closed.map(|(tenant, events)| (tenant, events, 0)))
            {
                let Err(error) = store.write_events(tenant, &events).await else {
                    metrics::counter!("sheaf_denial_events_total").increment(events.len() as u64);
                    continue;
                };
                let waits = failed.len() < MAX_OPEN / MAX_OPEN_OF_TENANT;
                if attempts + 1 < ATTEMPTS && waits && !last {
                    failed.push((tenant, events, attempts + 1));
                } else {
                    tracing::warn!(%error, %tenant, "denials could not be written");
                    dropped(events.len());
                }
            }
            if last {
                return;
            }
            waiting = failed;
        }
    }
}

fn dropped(events: usize) {
    metrics::counter!("sheaf_denials_dropped_total").increment(events as u64);
}

fn event(tenant: TenantId, key: &Key, window: &Window) -> NewEvent {
    let data = json!({
        "actor": &*key.actor,
        "method": key.method.as_str(),
        "route": &*key.route,
        "code": key.code,
        "count": window.count,
        "first_at": window.first_at,
        "last_at": window.last_at,
    });
    NewEvent::of_tenant(
        tenant,
        "access.denied",
        Origin::new(Arc::clone(&key.actor), Arc::clone(&window.request_id)),
        data.to_string(),
        window.first_at,
    )
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn denials(window: Duration) -> Denials {
        Denials::new(window, Clock::system())
    }

    fn auth(tenant: TenantId, actor: &str) -> TenantAuth {
        TenantAuth {
            tenant_id: tenant,
            actor: actor.into(),
        }
    }

    fn deny(denials: &Denials, auth: &TenantAuth, code: Code) -> bool {
        let denial = Denial {
            method: &Method::GET,
            route: "/v1/invoices",
            code,
            request_id: &"r".into(),
        };
        denials.open(auth, &denial)
    }

    #[test]
    fn the_same_denial_is_counted_and_another_is_another() {
        let denials = denials(Duration::ZERO);
        let caller = auth(TenantId(Uuid::now_v7()), "api_key:1");
        for _ in 0..1_000 {
            assert!(deny(&denials, &caller, Code::ForbiddenRole));
        }
        assert!(deny(&denials, &caller, Code::TenantMismatch));
        let closed = denials.close(false);
        assert_eq!((closed.len(), closed[0].1.len()), (1, 2));
        assert!(
            closed[0]
                .1
                .iter()
                .any(|e| e.data.contains("\"count\":1000,"))
        );
        assert!(denials.close(true).is_empty() && denials.lock().windows == 0);
    }

    #[test]
    fn windows_are_bounded_by_tenant_and_stay_open_for_their_time() {
        let denials = denials(Duration::from_mins(1));
        let (flooder, other) = (TenantId(Uuid::now_v7()), TenantId(Uuid::now_v7()));
        let taken = (0..1_000)
            .filter(|n| {
                deny(
                    &denials,
                    &auth(flooder, &format!("jwt:i/{n}")),
                    Code::ForbiddenRole,
                )
            })
            .count();
        assert_eq!(taken, MAX_OPEN_OF_TENANT);
        assert!(deny(
            &denials,
            &auth(other, "api_key:1"),
            Code::ForbiddenRole
        ));
        assert!(denials.close(false).is_empty());
        assert_eq!(denials.close(true).len(), 2);
    }

    #[test]
    fn windows_are_bounded_over_all_tenants() {
        let denials = denials(Duration::from_mins(1));
        let taken = (0..MAX_OPEN + 50)
            .filter(|_| {
                deny(
                    &denials,
                    &auth(TenantId(Uuid::new_v4()), "a"),
                    Code::ForbiddenRole,
                )
            })
            .count();
        assert_eq!((taken, denials.lock().tenants.len()), (MAX_OPEN, MAX_OPEN));
    }
}
