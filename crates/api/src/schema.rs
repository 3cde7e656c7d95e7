//! The documents of the API as OpenAPI describes them. Invoices are read and rendered by
//! `sheaf-model`; their types here describe that JSON and are never filled.

use utoipa::{IntoParams, ToSchema};

pub use crate::routes::api_key::schema::*;
pub use crate::routes::archive::column::schema::*;
pub use crate::routes::archive::export::schema::*;
pub use crate::routes::archive::query::schema::*;
pub use crate::routes::archive::schema::*;
pub use crate::routes::customer::schema::*;
pub use crate::routes::event::schema::*;
pub use crate::routes::invoice::change::schema::*;
pub use crate::routes::invoice::schema::*;
pub use crate::routes::invoice::validate::schema::*;
pub use crate::routes::number_series::schema::*;
pub use crate::routes::privacy::schema::*;
pub use crate::routes::profile::schema::*;
pub use crate::routes::report::schema::*;
pub use crate::routes::tenant::schema::*;

/// Paging of a list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// Entries on the page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<u8>,
    /// `next_cursor` of the page before, with the same filters.
    pub cursor: Option<String>,
}

/// The state of the process.
#[derive(Debug, ToSchema)]
pub struct Health {
    /// Always `ok`; anything else is a problem.
    #[schema(example = "ok")]
    pub status: String,
}

/// A mistake in one field.
#[derive(Debug, ToSchema)]
#[schema(as = FieldError)]
pub struct FieldErrorSchema {
    /// Where: `lines[0].quantity`; empty for the whole document.
    pub field: String,
    /// Stable, snake case.
    pub code: String,
    /// One sentence; may change.
    pub detail: String,
}

/// RFC 9457 problem details. An upload that ended early adds `received`, `created`, `duplicates`,
/// `rejected` and `line_errors`.
#[derive(Debug, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemSchema {
    /// `urn:sheaf:problem:<code>`.
    #[schema(example = "urn:sheaf:problem:invalid_cursor")]
    pub r#type: String,
    /// The code in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable, snake case: what programs compare.
    #[schema(example = "invalid_cursor")]
    pub code: String,
    /// One sentence; may change.
    pub detail: String,
    /// The fields at fault.
    pub errors: Option<Vec<FieldErrorSchema>>,
    /// The same as in `X-Request-Id`.
    pub request_id: String,
}
