//! Bounds of everything that a client can send. Each has one name, so that the API's schema, the
//! database's types and the checks cannot drift apart.

use chrono::NaiveDate;
use rust_decimal::Decimal;

/// Lines on one invoice.
pub const MAX_LINES: usize = 10_000;
/// Payments on one invoice.
pub const MAX_PAYMENTS: usize = 1_000;

/// Characters of an `external_id`, of invoices, customers and tenants.
pub const MAX_EXTERNAL_ID: usize = 200;
/// Characters of an invoice number.
pub const MAX_NUMBER: usize = 100;
/// Characters of an article number.
pub const MAX_SKU: usize = 100;
/// Characters of a line's description.
pub const MAX_DESCRIPTION: usize = 2_000;
/// Characters of a customer's name.
pub const MAX_CUSTOMER_NAME: usize = 300;
/// Characters of an email address (RFC 5321: 64 + `@` + 255).
pub const MAX_EMAIL: usize = 320;
/// Characters of a tax registration.
pub const MAX_TAX_ID: usize = 100;
/// Characters of a postal address.
pub const MAX_ADDRESS: usize = 1_000;
/// Characters of a country.
pub const MAX_COUNTRY: usize = 100;
/// Characters of a payment's reference.
pub const MAX_REFERENCE: usize = 200;
/// Characters of a payment's method.
pub const MAX_METHOD: usize = 50;

/// Bytes of metadata, as sent and in normal form.
pub const MAX_METADATA_BYTES: usize = 64 * 1024;
/// Nesting of metadata; the outer object is level 1.
pub const MAX_METADATA_DEPTH: usize = 32;
/// Digits of one number in metadata, as sent and written out in full.
pub const MAX_METADATA_DIGITS: usize = 100;
/// Largest absolute exponent of one number in metadata.
pub const MAX_METADATA_EXPONENT: u32 = 100;

/// Decimals of an amount at most (the largest ISO 4217 exponent): DECIMAL(18,4).
pub const AMOUNT_DECIMALS: u32 = 4;
/// Amounts are smaller than this: 10^14.
pub const AMOUNT_BOUND: Decimal = Decimal::from_parts(276_447_232, 23_283, 0, false, 0);
/// Decimals of quantities, unit prices and tax rates at most: DECIMAL(18,6).
pub const FINE_DECIMALS: u32 = 6;
/// Quantities and unit prices are smaller than this: 10^12.
pub const FINE_BOUND: Decimal = Decimal::from_parts(3_567_587_328, 232, 0, false, 0);

/// First year: a UUIDv7 carries nothing earlier.
pub const MIN_YEAR: i16 = 1970;
/// Last year.
pub const MAX_YEAR: i16 = 2199;

/// First date that an invoice can carry.
#[must_use]
pub fn min_date() -> NaiveDate {
    NaiveDate::from_ymd_opt(i32::from(MIN_YEAR), 1, 1).unwrap_or(NaiveDate::MIN)
}

/// Last date that an invoice can carry.
#[must_use]
pub fn max_date() -> NaiveDate {
    NaiveDate::from_ymd_opt(i32::from(MAX_YEAR), 12, 31).unwrap_or(NaiveDate::MAX)
}

/// The version that a restored document can have at most: more changes than anybody makes, and far
/// from where counting on would end.
pub const MAX_RESTORED_VERSION: i64 = 1_000_000_000;
/// The version at which a document stays as it is: JSON's numbers are exact up to here.
pub const MAX_VERSION: i64 = (1 << 53) - 1;

/// Seconds by which a client's clock, seen in the ids that it sends, may be ahead of ours.
pub const MAX_CLOCK_SKEW_SECONDS: i64 = 300;

/// Bytes of one NDJSON line.
pub const MAX_NDJSON_LINE: usize = 1024 * 1024;
/// Bytes of a body that is one JSON document.
pub const MAX_BODY: usize = 2 * 1024 * 1024;
/// Errors named in the answer to a bulk upload.
pub const MAX_BULK_ERRORS: usize = 1_000;
/// Errors named for one document.
pub const MAX_FIELD_ERRORS: usize = 100;

/// Entries on a page of a list when the client does not say.
pub const DEFAULT_PAGE: usize = 20;
/// Entries on a page of a list at most.
pub const MAX_PAGE: usize = 100;
