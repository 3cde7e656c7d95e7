//! Who causes an event.

use std::sync::Arc;

/// Who changes something, and in which request: kept with the events of the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `api_key:<id>`, `jwt:<iss>/<sub>` or `admin`.
    pub actor: Arc<str>,
    /// The request's id.
    pub request_id: Arc<str>,
    /// What the request belongs to.
    pub trace: Trace,
}

impl Origin {
    /// A change that belongs to nothing beyond its request.
    pub fn new(actor: impl Into<Arc<str>>, request_id: impl Into<Arc<str>>) -> Self {
        Self {
            actor: actor.into(),
            request_id: request_id.into(),
            trace: Trace::default(),
        }
    }
}

/// What a request belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The business process, over all its requests.
    pub correlation_id: Option<Arc<str>>,
    /// The event or message that caused the request.
    pub causation_id: Option<Arc<str>>,
}
