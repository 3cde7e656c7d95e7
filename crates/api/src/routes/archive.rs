//! `/v1/archive/files`: the tenant's catalog of the cold tier.

pub(crate) mod column;
pub(crate) mod export;
pub(crate) mod query;
pub(crate) mod schema;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use sheaf_model::Period;
use sheaf_model::bounds::{MAX_YEAR, MIN_YEAR};
use sheaf_store::{ArchiveFile, FileState};
use sheaf_web::Error;
use sheaf_web::answer::{PageOut, json};
use sheaf_web::auth::Reader;
use sheaf_web::cursor::Scope;
use sheaf_web::query::Params;

use crate::error::ApiError;
use crate::schema::{ArchiveFileOut, ArchiveFilePage};
use crate::state::Shared;

/// Year, month, part and generation, big-endian.
const POSITION: usize = 11;
type Position = (Period, i32, i32);

impl From<ArchiveFile> for ArchiveFileOut {
    fn from(file: ArchiveFile) -> Self {
        Self {
            period: file.period.to_string(),
            part: file.part,
            generation: file.generation,
            object_key: file.object_key,
            min_id: file.min_id,
            max_id: file.max_id,
            invoices: file.invoices,
            lines: file.lines,
            payments: file.payments,
            events: file.events,
            bytes: file.bytes,
            sha256: file
                .sha256
                .map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect()),
            sums: file.sums,
            schema_version: file.schema_version,
            published_at: file.published_at,
        }
    }
}

/// The published files of the tenant's archive, oldest period first.
#[utoipa::path(
    get, path = "/v1/archive/files", tag = "archive", operation_id = "listArchiveFiles",
    security(("bearer" = []), ("apiKey" = [])),
    params(crate::schema::PageParams),
    responses((status = 200, body = ArchiveFilePage)),
)]
pub(crate) async fn list_files(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::of(&uri)?;
    let limit = params.limit()?;
    let scope = Scope::new("archive-files").with(&auth.tenant_id.to_string());
    let after = params
        .take("cursor")?
        .map(|cursor| scope.decode(&cursor).and_then(position_in))
        .transpose()?;
    params.finish()?;
    // One more than asked for: it says whether another page follows.
    let mut files = app
        .store
        .archive_files(auth.tenant_id, &[FileState::Published], after, limit + 1)
        .await?;
    let has_more = files.len() > limit;
    files.truncate(limit);
    let last = files.last().filter(|_| has_more);
    let next_cursor =
        last.map(|file| scope.encode(&position_of((file.period, file.part, file.generation))));
    let data: Vec<ArchiveFileOut> = files.into_iter().map(ArchiveFileOut::from).collect();
    Ok(json(
        StatusCode::OK,
        &PageOut {
            data,
            has_more,
            next_cursor,
        },
    ))
}

fn position_of((period, part, generation): Position) -> [u8; POSITION] {
    let mut bytes = [0; POSITION];
    bytes[..2].copy_from_slice(&period.year.to_be_bytes());
    bytes[2] = period.month;
    bytes[3..7].copy_from_slice(&part.to_be_bytes());
    bytes[7..].copy_from_slice(&generation.to_be_bytes());
    bytes
}

fn position_in(bytes: [u8; POSITION]) -> Result<Position, Error> {
    let [y0, y1, month, p0, p1, p2, p3, g0, g1, g2, g3] = bytes;
    let period = Period {
        year: i16::from_be_bytes([y0, y1]),
        month,
    };
    let (part, generation) = (
        i32::from_be_bytes([p0, p1, p2, p3]),
        i32::from_be_bytes([g0, g1, g2, g3]),
    );
    // Of no file of ours, and of no form that the catalog's periods have.
    let known = (MIN_YEAR..=MAX_YEAR).contains(&period.year) && month <= 12;
    (known && part >= 0 && generation >= 0)
        .then_some((period, part, generation))
        .ok_or(Error::InvalidCursor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_position_survives_its_cursor() {
        let position = (
            Period {
                year: 2024,
                month: 11,
            },
            3,
            70_000,
        );
        assert_eq!(position_in(position_of(position)).unwrap(), position);
        let (year, month) = (i16::MIN, 200);
        assert!(position_in(position_of((Period { year, month }, 0, 0))).is_err());
    }
}
