//! The hosts that a URL names: one database, of which one host takes the writes, now this and now
//! that one.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, Error};

use crate::connect::NodeAddr;
use crate::sql;

/// A connection of a pool is asked so often whether its host still takes writes.
const LOOK: Duration = Duration::from_secs(1);
const NO_HOST: &str = "it must name a host: postgres://user:password@host:port/database";
/// No host was reached yet.
const NONE: usize = usize::MAX;

/// A host, with the address that stands for its name where one is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) address: Option<std::net::IpAddr>,
    pub(super) port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl From<&NodeAddr> for Place {
    fn from((host, port): &NodeAddr) -> Self {
        Self {
            host: host.clone(),
            address: None,
            port: *port,
        }
    }
}

/// All hosts of a URL, and what is known of them.
pub(super) struct Hosts {
    first: Place,
    others: Vec<Place>,
    /// The one to begin with: whoever let us in last, or stands behind one that did not.
    next: AtomicUsize,
    /// The one that let us in last.
    reached: AtomicUsize,
    started: Instant,
    /// Milliseconds after `started` at which another host was found to take the writes.
    moved: AtomicU64,
    /// Milliseconds after `started` from which on a connection is to be asked.
    next_look: AtomicU64,
}

impl Hosts {
    pub(super) fn of(config: &Config) -> Result<Self, String> {
        let mut places = places(config)?.into_iter();
        let first = places.next().ok_or(NO_HOST)?;
        Ok(Self::new(first, places.collect()))
    }

    fn new(first: Place, others: Vec<Place>) -> Self {
        Self {
            first,
            others,
            next: AtomicUsize::new(0),
            reached: AtomicUsize::new(NONE),
            started: Instant::now(),
            moved: AtomicU64::new(0),
            next_look: AtomicU64::new(0),
        }
    }

    /// Each host by itself.
    pub(super) fn each(&self) -> impl Iterator<Item = Self> {
        let all = std::iter::once(&self.first).chain(&self.others);
        all.map(|place| Self::new(place.clone(), Vec::new()))
    }

    pub(super) fn are_several(&self) -> bool {
        !self.others.is_empty()
    }

    fn place(&self, at: usize) -> &Place {
        let other = at.checked_sub(1).and_then(|at| self.others.get(at));
        other.unwrap_or(&self.first)
    }

    /// The first host.
    pub(super) fn only(&self) -> Place {
        self.first.clone()
    }

    pub(super) fn first(&self) -> NodeAddr {
        (self.first.host.clone(), self.first.port)
    }

    /// The host that let us in last; before that, the first.
    pub(super) fn reached(&self) -> NodeAddr {
        let place = match self.reached.load(Ordering::Relaxed) {
            NONE => &self.first,
            at => self.place(at),
        };
        (place.host.clone(), place.port)
    }

    /// Whether the URL names this node.
    pub(super) fn have(&self, addr: &NodeAddr) -> bool {
        let same = |place: &Place| place.host == addr.0 && place.port == addr.1;
        same(&self.first) || self.others.iter().any(same)
    }

    /// Each host once, in the order in which they are to be asked.
    pub(super) fn attempts(&self) -> impl Iterator<Item = Attempt<'_>> {
        let count = self.others.len() + 1;
        let begin = self.next.load(Ordering::Relaxed);
        (0..count).map(move |step| Attempt {
            hosts: self,
            at: (begin + step) % count,
            is_open: true,
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether a connection was opened before the writes moved to another host. Asks over it when
    /// it is time to.
    pub(super) async fn outdated(&self, client: &Client, opened: Instant) -> Result<bool, Error> {
        if self.is_due() {
            let row = client.query_one(sql::CLUSTER_READ_ONLY, &[]).await?;
            if row.get(0) {
                self.moved.store(self.now(), Ordering::Relaxed);
            }
        }
        let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
        Ok(opened < self.started + moved)
    }

    /// True for one caller every [`LOOK`].
    fn is_due(&self) -> bool {
        let (now, due) = (self.now(), self.next_look.load(Ordering::Relaxed));
        if now < due {
            return false;
        }
        let look = u64::try_from(LOOK.as_millis()).unwrap_or(u64::MAX);
        let next = now.saturating_add(look);
        let order = Ordering::Relaxed;
        self.next_look
            .compare_exchange(due, next, order, order)
            .is_ok()
    }
}

/// One host that is asked. Whoever gives up while it is silent, or is refused, has the next caller
/// begin behind it.
pub(super) struct Attempt<'a> {
    hosts: &'a Hosts,
    at: usize,
    is_open: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn place(&self) -> &'a Place {
        self.hosts.place(self.at)
    }

    /// It let us in: it takes the writes.
    pub(super) fn reached(mut self) {
        self.is_open = false;
        let Hosts {
            next,
            reached,
            moved,
            ..
        } = self.hosts;
        next.store(self.at, Ordering::Relaxed);
        let before = reached.swap(self.at, Ordering::Relaxed);
        if before != self.at && before != NONE {
            let (host, port) = self.hosts.reached();
            tracing::info!(host, port, "another host of the database takes the writes");
            moved.store(self.hosts.now(), Ordering::Relaxed);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_open {
            let count = self.hosts.others.len() + 1;
            let next = (self.at + 1) % count;
            self.hosts.next.store(next, Ordering::Relaxed);
        }
    }
}

fn places(config: &Config) -> Result<Vec<Place>, String> {
    let (hosts, addresses, ports) = (
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
    );
    let count = hosts.len().max(addresses.len());
    if ports.len() > 1 && ports.len() != count {
        return Err("it names another number of ports than of hosts".to_owned());
    }
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err("it names another number of addresses than of hosts".to_owned());
    }
    let mut places = Vec::with_capacity(count);
    for at in 0..count {
        let address = addresses.get(at).copied();
        let host = match (hosts.get(at), address) {
            (Some(Host::Tcp(host)), _) if !host.is_empty() => host.clone(),
            (None, Some(address)) => address.to_string(),
            _ => return Err(NO_HOST.to_owned()),
        };
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        places.push(Place {
            host,
            address,
            port,
        });
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hosts(text: &str) -> Result<Hosts, String> {
        Hosts::of(&text.parse().unwrap())
    }

    #[test]
    fn a_url_may_name_several_hosts() {
        let two = hosts("postgres://u:p@a:1,b:2/d").unwrap();
        let asked: Vec<_> = two.attempts().map(|a| a.place().to_string()).collect();
        assert_eq!(asked, ["a:1", "b:2"]);
        assert!(two.are_several());
        assert_eq!(two.first(), ("a".to_owned(), 1));
        assert!(two.have(&("b".to_owned(), 2)) && !two.have(&("b".to_owned(), 1)));
        let one = hosts("postgres://u@a/d").unwrap();
        assert_eq!(one.first(), ("a".to_owned(), 5432));
        assert!(!one.are_several());
        for wrong in [
            "postgres:///d",
            "postgres://u@a,,b/d",
            "postgres://u@%2Ftmp/d",
            "host=a,b port=1,2,3",
            "host=a,b hostaddr=127.0.0.1",
        ] {
            assert!(hosts(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_caller_a_second_asks_however_many_there_are() {
        let two = hosts("postgres://u@a,b/d").unwrap();
        let began = Instant::now();
        let mut asked = 0;
        while began.elapsed() < Duration::from_millis(1_500) {
            asked += u32::from(two.is_due());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(asked, 2);
    }

    #[test]
    fn whoever_was_reached_is_asked_first_and_whoever_was_not_last() {
        let three = hosts("postgres://u@a,b,c/d").unwrap();
        let order = || -> Vec<_> {
            let order: Vec<_> = three
                .attempts()
                .map(|a| (a.place().host.clone(), a))
                .collect();
            let names = order.iter().map(|(name, _)| name.clone()).collect();
            // They say nothing of how they went.
            order.into_iter().for_each(|(_, mut a)| a.is_open = false);
            names
        };
        // Given up while the first one was silent.
        drop(three.attempts().next());
        assert_eq!(order(), ["b", "c", "a"]);
        let third = three.attempts().nth(1).unwrap();
        assert_eq!(third.place().host, "c");
        third.reached();
        assert_eq!(order(), ["c", "a", "b"]);
        assert_eq!(three.reached().0, "c");
        assert_eq!(
            three.moved.load(Ordering::Relaxed),
            0,
            "there was none before"
        );
        std::thread::sleep(Duration::from_millis(2));
        three.attempts().nth(1).unwrap().reached();
        assert_eq!(three.reached().0, "a");
        assert!(three.moved.load(Ordering::Relaxed) > 0);
    }
}
