//! The forms of a document, and what keeps an invoice out of each.

use chrono::NaiveDate;
use sheaf_model::{FieldError, Invoice, Status};

use crate::{MAX_PDF_LINES, MAX_PDF_ROWS, Profile, amounts, ubl};

/// Characters after which a text goes on in the next row of its column, about.
const ROW: usize = 50;

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

    /// What keeps the invoice from being made into it, at most [`sheaf_model::limits::MAX_FIELD_ERRORS`]; nothing where it
    /// can be made. [`crate::pdf()`] and [`crate::ubl()`] refuse an invoice for exactly these.
    #[must_use]
    pub fn findings(self, invoice: &Invoice, profile: &Profile) -> Vec<FieldError> {
        match self {
            Self::Pdf => too_many_lines(invoice).into_iter().collect(),
            Self::Ubl => {
                let rates = amounts::by_rate(invoice);
                let checked = ubl::check(invoice, profile, &rates);
                checked.map_or_else(sheaf_model::Invalid::into_errors, |_| Vec::new())
            }
        }
    }
}

/// Why the invoice has no pages.
pub(crate) fn too_many_lines(invoice: &Invoice) -> Option<FieldError> {
    let too_many = |detail| Some(FieldError::new("lines", "too_many_lines", detail));
    if invoice.lines.len() > MAX_PDF_LINES {
        return too_many(format!("a PDF has {MAX_PDF_LINES} lines at most"));
    }
    if rows(invoice) > MAX_PDF_ROWS {
        return too_many(format!(
            "a PDF has {MAX_PDF_ROWS} rows of text at most, those of descriptions and payments counted"
        ));
    }
    None
}

/// Rows of text, about: a description may have many.
fn rows(invoice: &Invoice) -> usize {
    let of = |text: &str| -> usize { text.lines().map(|line| 1 + line.len() / ROW).sum() };
    let lines = invoice.lines.iter().map(|line| {
        let sku = line.sku.as_deref().map_or(0, of);
        of(&line.description) + sku
    });
    let payments = invoice.payments.iter();
    let payments = payments.map(|payment| of(&payment.reference).max(of(&payment.method)));
    let customer = invoice.customer.iter().map(|customer| {
        let texts = [&customer.address, &customer.country, &customer.email];
        let texts = texts.into_iter().flatten().map(|text| of(text));
        of(&customer.name) + texts.sum::<usize>()
    });
    lines.chain(payments).chain(customer).sum()
}

/// The draft as it would be if it were issued on `today` as it is; any other document as it is. A number comes from the
/// tenant's series at issue.
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
