//! The forms of a document, and what keeps an invoice out of each.

use chrono::NaiveDate;
use sheaf_model::{Code, FieldError, Invoice, Status};

use crate::{Profile, amounts, ubl};

/// Lines on a PDF at most. Typesetting takes time and memory in proportion to the lines: at this
/// bound about 2 s and 300 MB.
pub const MAX_PDF_LINES: usize = 2_000;

/// Rows of text on a PDF at most: a text's own lines, and what does not fit into one. Each costs as
/// much as a line of the invoice, or half of it.
const MAX_PDF_ROWS: usize = 10_000;
/// Bytes of a row: a description has room for about as many letters.
const ROW: usize = 80;

/// A form of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// A4 pages.
    Pdf,
    /// UBL 2.1 under EN 16931.
    Ubl,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Pdf, Self::Ubl];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Ubl => "ubl",
        }
    }

    /// What keeps the invoice from being made into it, at most
    /// [`sheaf_model::bounds::MAX_FIELD_ERRORS`]; nothing where it can be made. [`crate::pdf()`]
    /// and [`crate::ubl()`] refuse an invoice for exactly these.
    #[must_use]
    pub fn findings(self, invoice: &Invoice, profile: &Profile) -> Vec<FieldError> {
        match self {
            Self::Pdf => too_long(invoice).into_iter().collect(),
            Self::Ubl => {
                let rates = amounts::by_rate(invoice);
                let checked = ubl::check(invoice, profile, &rates);
                checked.map_or_else(sheaf_model::Invalid::into_errors, |_| Vec::new())
            }
        }
    }
}

/// Why the invoice has no pages.
pub(crate) fn too_long(invoice: &Invoice) -> Option<FieldError> {
    if invoice.lines.len() > MAX_PDF_LINES {
        let detail = format!("a PDF has {MAX_PDF_LINES} lines at most");
        return Some(FieldError::new("lines", Code::TooManyLines, detail));
    }
    let lines = invoice
        .lines
        .iter()
        .flat_map(|line| [Some(&line.description), line.sku.as_ref()]);
    let payments = invoice
        .payments
        .iter()
        .flat_map(|payment| [Some(&payment.reference), Some(&payment.method)]);
    let rows: usize = lines.chain(payments).flatten().map(|text| rows(text)).sum();
    (rows > MAX_PDF_ROWS).then(|| {
        let detail =
            format!("its texts take {rows} rows; a PDF has {MAX_PDF_ROWS} rows of text at most");
        FieldError::new("lines", Code::TooMuchText, detail)
    })
}

/// Rows that a text takes on a page, about.
fn rows(text: &str) -> usize {
    text.lines().map(|line| 1 + line.len() / ROW).sum()
}

/// The draft as it would be if it were issued on `today` as it is; any other document as it is. A
/// number comes from the tenant's series at issue.
#[must_use]
pub fn as_issued(invoice: &Invoice, today: NaiveDate) -> Invoice {
    let mut invoice = invoice.clone();
    if invoice.status == Status::Draft {
        invoice.status = Status::Issued;
        invoice.issue_date.get_or_insert(today);
        invoice.number.get_or_insert_with(|| "1".to_owned());
    }
    invoice
}
