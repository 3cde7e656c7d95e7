//! What operators ask: alive, ready; and, on another listener, metrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use sheaf_web::answer::json_bytes;

use crate::error::ApiError;
use crate::problems::problems;
use crate::schema::Health;
use crate::state::Shared;

/// A probe that waits longer than this is answered by its prober's own timeout.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the process runs.
#[utoipa::path(
    get, path = "/healthz", tag = "operations", operation_id = "healthz",
    responses((status = 200, body = Health)),
)]
pub(crate) async fn healthz() -> Response {
    json_bytes(StatusCode::OK, r#"{"status":"ok"}"#)
}

problems! {
    ReadyzProblems {
        503: NotReady;
    }
}

/// Whether requests can be served now: the database answers within 2 s, and no queue stands still.
#[utoipa::path(
    get, path = "/readyz", tag = "operations", operation_id = "readyz",
    responses((status = 200, body = Health), ReadyzProblems),
)]
pub(crate) async fn readyz(State(app): State<Shared>) -> Result<Response, ApiError> {
    if let Some(queue) = app.store.stalled_queue() {
        return Err(ApiError::QueueStalled(queue));
    }
    match tokio::time::timeout(READY_TIMEOUT, app.store.ready()).await {
        Ok(Ok(())) => Ok(json_bytes(StatusCode::OK, r#"{"status":"ok"}"#)),
        Ok(Err(error)) => Err(ApiError::NotReady(Some(error))),
        Err(_) => Err(ApiError::NotReady(None)),
    }
}
