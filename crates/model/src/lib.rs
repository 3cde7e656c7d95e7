//! Ids, money, invoice and payment rules. Pure: no I/O, no async, no SQL.

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
