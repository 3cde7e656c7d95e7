//! The documents of an invoice: a PDF for people, EN 16931 UBL for machines. Pure: no I/O, no
//! async, no clock.
//!
//! Inside: `page.rs` decides what the pages show and `template.typ` where; `locale.rs` and
//! `labels.rs` have the formats and words of each language; `text.rs` cleans what tenants wrote;
//! `amounts.rs` sums lines by tax rate; `ubl/check.rs` finds what EN 16931 asks for and the invoice
//! does not have.

// Formats and texts of pages have no other reader.
#![cfg_attr(not(feature = "pdf"), allow(dead_code))]

mod amounts;
mod countries;
mod format;
#[cfg(feature = "pdf")]
mod labels;
mod locale;
#[cfg(feature = "pdf")]
mod page;
#[cfg(feature = "pdf")]
mod pdf;
pub mod profile;
mod text;
mod ubl;

pub use format::{Format, MAX_PDF_LINES, as_issued};
pub use locale::Language;
#[cfg(feature = "pdf")]
pub use pdf::pdf;
pub use profile::{Profile, ZeroRate};
pub use ubl::ubl;

use chrono::NaiveDate;
use sheaf_model::Invalid;

/// The invoice that a credit note corrects, as documents name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrected {
    /// Its number.
    pub number: String,
    /// Its day of issue.
    pub issue_date: Option<NaiveDate>,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The invoice or the profile lacks what the document needs, or has what it cannot express.
    /// Fields of the profile are named `profile.<field>`, fields of the invoice as in its JSON.
    #[error(transparent)]
    Unsuitable(#[from] Invalid),
    /// The typesetter or the XML writer failed: a mistake of ours.
    #[error("the document could not be made: {0}")]
    Failed(String),
    /// The program was built without this form.
    #[error("this build makes no {}", .0.as_str())]
    NotBuilt(Format),
}

/// There is no typesetter in this build.
///
/// # Errors
/// Always [`DocumentError::NotBuilt`].
#[cfg(not(feature = "pdf"))]
pub fn pdf(
    _: &sheaf_model::Invoice,
    _: &Profile,
    _: Option<&Corrected>,
) -> Result<Vec<u8>, DocumentError> {
    Err(DocumentError::NotBuilt(Format::Pdf))
}
