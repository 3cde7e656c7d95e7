//! Wrong credentials by client address: a bucket for each address that sent one, in this process.
//! Credentials from an address that has emptied it are suspect: what can be guessed opens nothing
//! then, keys are looked up many at a time, and what is wrong is answered with 429. A client behind
//! the same address as a guesser is not refused: its key cannot be guessed, and what opened a door
//! before is not even slowed. What can be guessed is known again only where it was right: that its
//! owner has used it somewhere must not let a guesser elsewhere try it for ever.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use quick_cache::sync::Cache;

use crate::error::Error;
use crate::rate_limit::RateLimit;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Addresses with wrong credentials that are kept. One that is forgotten starts with a full bucket.
const ADDRESSES: usize = 50_000;
/// Credentials that were right, by their hashes, that are kept.
const PROVEN: usize = 100_000;

/// What a client presents, as far as guesses are concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Secret {
    pub(crate) hash: [u8; 32],
    /// Whether it is right, and so short that somebody who tries for long enough may find it.
    pub(crate) can_be_guessed: bool,
}

/// A credential that was right: anywhere, or, where it can be guessed, at one address.
type Proven = ([u8; 32], Option<Address>);

impl Secret {
    fn proven(self, from: Address) -> Proven {
        (self.hash, self.can_be_guessed.then_some(from))
    }
}

/// The other end of the connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Where a client is: an IPv4 address, or the network of an IPv6 address, of which one client has
/// all 2^64 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address(IpAddr);

impl Address {
    fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Ipv6Addr::from_bits(network).into()
            }
        })
    }
}

/// How long an address has to wait, as nanoseconds since [`Guesses::began`] (the generic cell rate
/// algorithm: the moment at which the bucket is full again).
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

/// A credential that is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    from: Address,
    /// Whether its address has paid for it already.
    counted: bool,
    /// Seconds until its address has paid for the wrong ones before it, if these were too many.
    wait: Option<u32>,
}

impl Admitted {
    /// Whether it comes from where many wrong ones come from.
    pub(crate) fn is_suspect(&self) -> bool {
        self.wait.is_some()
    }
}

/// Addresses, and what they sent.
pub(crate) struct Guesses {
    began: Instant,
    /// Nanoseconds for one wrong credential to be forgiven, and those of a whole bucket.
    each: u64,
    whole: u64,
    /// Proxies in front of us that write `X-Forwarded-For`.
    proxies: usize,
    /// Whether it was told that the header is there.
    unasked: Once,
    buckets: Cache<Address, Arc<Bucket>>,
    proven: Cache<Proven, ()>,
}

impl Guesses {
    pub(crate) fn new(limit: RateLimit, proxies: usize) -> Self {
        let each = 1_000_000_000 / u64::from(limit.per_second.get());
        Self {
            began: Instant::now(),
            each,
            whole: each * u64::from(limit.burst.get()),
            proxies,
            unasked: Once::new(),
            buckets: Cache::new(ADDRESSES),
            proven: Cache::new(PROVEN),
        }
    }

    /// Whose request it is; none where it came by no connection.
    pub(crate) fn address(&self, parts: &Parts) -> Option<Address> {
        if self.proxies == 0 && parts.headers.contains_key(X_FORWARDED_FOR) {
            self.unasked.call_once(|| {
                tracing::warn!(
                    "requests have X-Forwarded-For, which is not looked at: behind a proxy, set \
                     SHEAF_PROXIES, or all clients count as one address and share its wrong \
                     credentials"
                );
            });
        }
        let forwarded = forwarded(&parts.headers, self.proxies);
        let peer = || parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
        forwarded.or_else(peer).map(Address::of)
    }

    /// Judges a credential before it is looked at. One that may be wrong is counted now, so that
    /// many at once are not more than the bucket has; [`Guesses::forgive`] gives it back.
    pub(crate) fn admit(&self, from: Address, secret: Secret) -> Admitted {
        let admitted = |counted, wait| Admitted {
            from,
            counted,
            wait,
        };
        let Some(bucket) = self.buckets.get(&from) else {
            return admitted(false, None);
        };
        if self.proven.get(&secret.proven(from)).is_some() {
            return admitted(false, None);
        }
        let now = self.now();
        let counted = |full: u64| (self.wait(full, now) == 0).then(|| full.max(now) + self.each);
        let full = bucket
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        let Err(full) = full else {
            return admitted(true, None);
        };
        let seconds = Duration::from_nanos(self.wait(full, now)).as_secs() + 1;
        admitted(false, Some(u32::try_from(seconds).unwrap_or(u32::MAX)))
    }

    /// Counts a wrong credential, if it is not counted yet. What its sender is told: whether there
    /// were too many.
    pub(crate) fn wrong(
        &self,
        Admitted {
            from,
            counted,
            wait,
        }: Admitted,
    ) -> Error {
        if let Some(seconds) = wait {
            metrics::counter!("sheaf_credentials_turned_away_total").increment(1);
            return Error::TooManyGuesses(seconds);
        }
        if counted {
            return Error::InvalidCredential;
        }
        let bucket = self
            .buckets
            .get_or_insert_with(&from, || Ok::<_, std::convert::Infallible>(Arc::default()));
        let Ok(bucket) = bucket;
        let now = self.now();
        // The bucket is never emptier than empty: who goes on guessing does not have to wait for
        // longer.
        let later = |full: u64| Some((full.max(now) + self.each).min(now + self.whole));
        let _always = bucket
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
        Error::InvalidCredential
    }

    /// Remembers one that was right.
    pub(crate) fn right(&self, admitted: Admitted, secret: Secret) {
        self.forgive(admitted);
        let proven = secret.proven(admitted.from);
        if self.proven.get(&proven).is_none() {
            self.proven.insert(proven, ());
        }
    }

    /// Takes back what was counted of one that was not wrong.
    pub(crate) fn forgive(&self, Admitted { from, counted, .. }: Admitted) {
        if counted && let Some(bucket) = self.buckets.get(&from) {
            bucket.0.fetch_sub(self.each, Ordering::Relaxed);
        }
    }

    /// Nanoseconds until the bucket has room for one more; 0 when it has.
    fn wait(&self, full: u64, now: u64) -> u64 {
        (full.saturating_sub(now) + self.each).saturating_sub(self.whole)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX / 2)
    }
}

/// The address that the outermost of our own proxies saw. Each appends one, so that what a client
/// wrote there itself stands further to the left and is not looked at.
fn forwarded(headers: &HeaderMap, proxies: usize) -> Option<IpAddr> {
    let values = headers.get_all(X_FORWARDED_FOR).iter();
    let mut hops: Vec<&str> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let at = hops.len().checked_sub(proxies).filter(|_| proxies > 0)?;
    hops.truncate(at + 1);
    hops.pop()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::num::NonZeroU32;

    use axum::http::{HeaderValue, Request};

    use super::*;

    fn limit(per_second: u32, burst: u32) -> RateLimit {
        RateLimit {
            per_second: NonZeroU32::new(per_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    fn secret(hash: [u8; 32]) -> Secret {
        Secret {
            hash,
            can_be_guessed: false,
        }
    }

    fn at(text: &str) -> Address {
        Address::of(text.parse().unwrap())
    }

    /// Sends a wrong credential; seconds to wait, if there were too many.
    fn guess(guesses: &Guesses, from: Address) -> Option<u32> {
        match guesses.wrong(guesses.admit(from, secret([9; 32]))) {
            Error::InvalidCredential => None,
            Error::TooManyGuesses(seconds) => Some(seconds),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn an_address_runs_out_of_guesses_and_good_credentials_go_on() {
        let guesses = Guesses::new(limit(1, 3), 0);
        let (guesser, other) = (at("192.0.2.7"), at("192.0.2.8"));
        let (seen, unseen) = (secret([1; 32]), secret([2; 32]));
        guesses.right(guesses.admit(other, seen), seen);
        for _ in 0..3 {
            assert_eq!(guess(&guesses, guesser), None);
        }
        assert_eq!(guess(&guesses, guesser), Some(1));
        // The key that worked works on, from anywhere; one that nobody has seen is suspect until it
        // opens something.
        assert!(!guesses.admit(guesser, seen).is_suspect());
        let fresh = guesses.admit(guesser, unseen);
        assert!(fresh.is_suspect());
        guesses.right(fresh, unseen);
        assert!(!guesses.admit(guesser, unseen).is_suspect());
        assert_eq!(guess(&guesses, other), None);
        for _ in 0..1_000 {
            guess(&guesses, guesser);
        }
        assert_eq!(guess(&guesses, guesser), Some(1), "no longer than one");
    }

    #[test]
    fn what_can_be_guessed_is_known_again_where_it_was_right_and_nowhere_else() {
        let guesses = Guesses::new(limit(1, 3), 0);
        let (guesser, owner) = (at("192.0.2.7"), at("192.0.2.8"));
        let short = Secret {
            hash: [1; 32],
            can_be_guessed: true,
        };
        guesses.right(guesses.admit(owner, short), short);
        for from in [guesser, owner] {
            while guess(&guesses, from).is_none() {}
        }
        assert!(guesses.admit(guesser, short).is_suspect());
        assert!(!guesses.admit(owner, short).is_suspect());
    }

    #[test]
    fn many_at_once_are_no_more_than_the_bucket_has() {
        let guesses = Guesses::new(limit(1, 10), 0);
        let from = at("192.0.2.7");
        assert_eq!(guess(&guesses, from), None);
        let at_once = (0..100).map(|_| guesses.admit(from, secret([9; 32])));
        let admitted: Vec<Admitted> = at_once.filter(|one| !one.is_suspect()).collect();
        assert_eq!(admitted.len(), 9);
        // Those that turn out right cost nothing.
        for (n, admitted) in admitted.into_iter().enumerate() {
            let mut hash = [0; 32];
            hash[0] = u8::try_from(n).unwrap();
            guesses.right(admitted, secret(hash));
        }
        assert_eq!(guess(&guesses, from), None);
    }

    #[test]
    fn a_bucket_fills_again() {
        let guesses = Guesses::new(limit(2, 4), 0);
        let second = 1_000_000_000;
        let full = 10 * second;
        assert_eq!(guesses.wait(full, 8 * second), second / 2);
        assert_eq!(guesses.wait(full, 8 * second + second / 2), 0);
        assert_eq!(guesses.wait(full, 100 * second), 0);
    }

    #[test]
    fn addresses_that_are_kept_are_bounded() {
        let guesses = Guesses::new(limit(1, 1), 0);
        for n in 0..200_000_u32 {
            let from = Address::of(IpAddr::from(n.to_be_bytes()));
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            let first = guesses.admit(from, secret(hash));
            guesses.wrong(first);
            guesses.right(first, secret(hash));
        }
        assert!(guesses.buckets.len() <= ADDRESSES && guesses.proven.len() <= PROVEN);
    }

    #[test]
    fn an_address_is_a_network_and_told_by_our_own_proxies_alone() {
        assert_eq!(at("::ffff:192.0.2.7"), at("192.0.2.7"));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        let of = |proxies, values: &[&'static str]| {
            let mut request = Request::new(());
            for value in values {
                let value = HeaderValue::from_static(value);
                request.headers_mut().append(X_FORWARDED_FOR, value);
            }
            request
                .extensions_mut()
                .insert(Peer("127.0.0.1:5".parse().unwrap()));
            let (parts, ()) = request.into_parts();
            Guesses::new(limit(1, 1), proxies).address(&parts).unwrap()
        };
        let (own, seen) = (at("127.0.0.1"), at("198.51.100.1"));
        assert_eq!(of(0, &["198.51.100.1"]), own, "anybody can write it");
        assert_eq!(of(1, &["203.0.113.9, 198.51.100.1"]), seen);
        assert_eq!(of(1, &["203.0.113.9", "198.51.100.1"]), seen);
        assert_eq!(of(2, &["203.0.113.9, 198.51.100.1, 10.0.0.1"]), seen);
        assert_eq!(of(2, &["198.51.100.1"]), own);
        assert_eq!(of(1, &["nobody"]), own);
    }
}
