//! A request's idempotency key, what it was answered, and why it may not be used.

/// A client's `Idempotency-Key` and what it was sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdemKey {
    /// As sent.
    pub key: String,
    /// SHA-256 over method, path and body.
    pub fingerprint: [u8; 32],
}

/// The first answer to an idempotent request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// HTTP status.
    pub status: u16,
    /// `Location` header.
    pub location: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}

/// The outcome of making something with an optional idempotency key.
#[derive(Clone, Debug)]
pub enum CreateOutcome<T> {
    /// Made now.
    Created(T),
    /// Made before, by the same request.
    Replay(Replay),
}

/// Why a request is not done because of its idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdemConflict {
    /// The key was used with another request.
    #[error("the idempotency key was used with another request")]
    Mismatch,
    /// The request with this key still runs.
    #[error("a request with this idempotency key is still running")]
    Running,
}
