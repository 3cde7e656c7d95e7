//! The refusals of an S3: what they mean, and how they are reported.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::object::storage::StorageError;

/// Sorts an answer of the storage by its HTTP status, which every S3 agrees on; error codes differ.
pub(crate) fn classify<E>(key: &str, error: SdkError<E, HttpResponse>) -> StorageError
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let key = key.to_owned();
    let status = error
        .raw_response()
        .map(|response| response.status().as_u16());
    let code = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
        .unwrap_or_default()
        .to_owned();
    let transport = matches!(
        error,
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_)
    );
    let detail = sentence(&error);
    match (status, code.as_str()) {
        // A missing bucket is a wrong setting, not a missing object.
        (_, "NoSuchBucket") => StorageError::Other {
            key,
            detail: "the bucket does not exist".to_owned(),
        },
        (_, "InvalidObjectState") => StorageError::Restoring { key },
        (Some(404), _) | (_, "NoSuchKey") => StorageError::NotFound { key },
        (Some(412), _) => StorageError::AlreadyExists { key },
        (Some(429), _) | (_, "SlowDown" | "Throttling" | "RequestLimitExceeded") => {
            StorageError::Throttled { key, detail }
        }
        (Some(409 | 500..=599), _) => StorageError::Unavailable { key, detail },
        _ if transport => StorageError::Unavailable { key, detail },
        _ => StorageError::Other { key, detail },
    }
}

/// What went wrong, in one sentence with its causes. The library's own text is a dump of all that
/// it holds.
pub(super) fn sentence<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            match (answer.err().code(), answer.err().message()) {
                (Some(code), Some(message)) => {
                    let message = message.trim_end_matches('.');
                    format!("{message} ({code}, HTTP status {status})")
                }
                (Some(code), None) => format!("{code} (HTTP status {status})"),
                // As to a HEAD, whose answer has no words.
                _ if status == 403 => "the credentials are refused (HTTP status 403)".to_owned(),
                _ => format!("the storage answered with HTTP status {status}"),
            }
        }
        SdkError::TimeoutError(_) => "the storage did not answer in time".to_owned(),
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => {
            with_causes("the storage cannot be reached", error)
        }
        SdkError::DispatchFailure(_) => with_causes("the request cannot be sent", error),
        SdkError::ResponseError(_) => with_causes("the storage's answer cannot be read", error),
        _ => with_causes("the request cannot be made", error),
    }
}

/// The causes of an error behind what it means. The outermost say only that a request failed, and
/// some say the same twice.
fn with_causes(meaning: &str, error: &dyn std::error::Error) -> String {
    let mut said = meaning.to_owned();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        let text = text.trim_end_matches('.');
        let is_news = !["io error", "other", "dispatch failure"].contains(&text);
        if is_news && !said.contains(text) {
            said.push_str(": ");
            said.push_str(text);
        }
        cause = inner.source();
    }
    said
}
