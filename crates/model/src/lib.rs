//! Ids, money, invoice and payment rules. Pure: no I/O, no async, no SQL.
//!
//! | module | job |
//! |---|---|
//! | [`id`] | UUIDv7 ids and the year and month that they carry |
//! | [`currency`] | ISO 4217 codes and their exponents |
//! | [`decimal`] | exact decimals: reading, rounding, rendering, bounds |
//! | [`json`] | metadata in the normal form of PostgreSQL's `jsonb` |
//! | [`invoice`] | the invoice document, as stored and as answered |
//! | [`input`] | an invoice as a client sends it, and its validation |
//! | [`rules`] | totals and status |
//! | [`tax`] | how tax is rounded, and what credit notes took |
//! | [`lifecycle`] | what may be done to an invoice, and what it does |
//! | [`plain`] | dates, times, ids and counts as clients write them |
//! | [`text`] | whether a text shows anything |
//! | [`strict`] | JSON objects into structs, arrays refused |
//! | [`error`] | field errors |
//! | [`code`] | every stable error code, its status and its meaning |

pub mod customer;
pub mod money;

pub mod bounds;
pub mod code;
pub mod error;
pub mod id;
pub mod invoice;
pub mod json;
pub mod plain_value;
pub mod visible_text;

pub use crate::invoice::input::InvoiceInput;
pub use crate::money::currency::Currency;
pub use crate::money::tax::{Credited, CreditedRate, TaxRounding};
pub use code::Code;
pub use error::{FieldError, Invalid};
pub use id::{NotATenantId, Period, TenantId};
pub use invoice::{Customer, Invoice, Kind, Line, Payment, PaymentKind, Status};
pub use json::Metadata;
pub use rust_decimal::Decimal;
