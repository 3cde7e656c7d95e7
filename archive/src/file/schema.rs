//! The archive's Parquet schema. Version 1 is the first; a later version may add nullable columns,
//! nothing else. Version 2 adds discounts of documents and percentages, kinds of payments, and
//! credit notes; version 3 how tax is rounded, the profile that a document was issued with, and
//! what its credit notes took by rate.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::file::metadata_columns;

/// The version that this build writes, and the newest that it reads.
pub const SCHEMA_VERSION: i32 = 3;

/// Precision and scale of amounts.
pub(crate) const AMOUNT: (u8, i8) = (18, 4);
/// Precision and scale of quantities and unit prices.
pub(crate) const FINE: (u8, i8) = (18, 6);
/// Precision and scale of tax rates.
pub(crate) const RATE: (u8, i8) = (7, 6);

/// Precision and scale of percentages.
pub(crate) const PERCENT: (u8, i8) = (9, 6);

/// Keys in the file's key-value metadata.
pub mod meta {
    /// Version of the schema.
    pub const SCHEMA_VERSION: &str = "sheaf.schema_version";
    /// Owner of all rows.
    pub const TENANT_ID: &str = "sheaf.tenant_id";
    /// Month of all rows, `YYYY-MM`, or their year, `YYYY-00`.
    pub const PERIOD: &str = "sheaf.period";
    /// Number of rows.
    pub const INVOICES: &str = "sheaf.invoices";
    /// Number of lines in all rows.
    pub const LINES: &str = "sheaf.lines";
    /// Number of payments in all rows.
    pub const PAYMENTS: &str = "sheaf.payments";
    /// Number of events in all rows.
    pub const EVENTS: &str = "sheaf.events";
    /// Sums of `total` by currency and kind, JSON.
    pub const SUMS: &str = "sheaf.sums";
    /// Smallest id.
    pub const MIN_ID: &str = "sheaf.min_id";
    /// Largest id.
    pub const MAX_ID: &str = "sheaf.max_id";
    /// Checksums of column chunks and Bloom filters, base64. Files of older binaries have none.
    pub const CHECKS: &str = "sheaf.checks";
}

/// The columns that the uniqueness of keys needs. They come first, so that one ranged read takes
/// all three.
pub(crate) const KEY_COLUMNS: [&str; 3] = ["id", "external_id", "number"];
/// The columns that say in which years a number is taken.
pub(crate) const NUMBER_COLUMNS: [&str; 3] = ["id", "number", "issue_date"];
/// The columns of a customer, which lie side by side.
pub(crate) const CUSTOMER_COLUMNS: [&str; 7] = [
    "customer_id",
    "customer_external_id",
    "customer_name",
    "customer_email",
    "customer_tax_id",
    "customer_address",
    "customer_country",
];
/// The columns with a Bloom filter.
pub(crate) const BLOOM_COLUMNS: [&str; 4] = ["id", "external_id", "number", "customer_id"];

fn decimal((precision, scale): (u8, i8)) -> DataType {
    DataType::Decimal128(precision, scale)
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(crate) fn line_fields() -> Fields {
    Fields::from(vec![
        Field::new("line_no", DataType::Int32, false),
        Field::new("sku", DataType::Utf8, true),
        Field::new("description", DataType::Utf8, false),
        Field::new("quantity", decimal(FINE), false),
        Field::new("unit_price", decimal(FINE), false),
        Field::new("discount", decimal(AMOUNT), false),
        Field::new("tax_rate", decimal(RATE), false),
        Field::new("net", decimal(AMOUNT), false),
        Field::new("tax", decimal(AMOUNT), false),
        // Since version 2.
        Field::new("discount_percent", decimal(PERCENT), true),
        Field::new("document_discount", decimal(AMOUNT), true),
    ])
}

pub(crate) fn payment_fields() -> Fields {
    Fields::from(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("reference", DataType::Utf8, false),
        Field::new("amount", decimal(AMOUNT), false),
        Field::new("paid_on", DataType::Date32, false),
        Field::new("method", DataType::Utf8, false),
        // Since version 2.
        Field::new("kind", DataType::Utf8, true),
        Field::new("reverses", DataType::Utf8, true),
    ])
}

/// The item of a list. Parquet's own name for it, which Spark and Athena expect.
pub(crate) fn element(fields: Fields) -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(fields), false))
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let required = |name: &str, kind: DataType| Field::new(name, kind, false);
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        // Ids are text: neither Spark nor Athena reads Parquet's UUID type as it is.
        required("id", DataType::Utf8),
        text("external_id"),
        text("number"),
        required("kind", DataType::Utf8),
        required("status", DataType::Utf8),
        required("currency", DataType::Utf8),
        text("customer_id"),
        text("customer_external_id"),
        text("customer_name"),
        text("customer_email"),
        text("customer_tax_id"),
        text("customer_address"),
        text("customer_country"),
        Field::new("issue_date", DataType::Date32, true),
        Field::new("due_date", DataType::Date32, true),
        required("subtotal", decimal(AMOUNT)),
        required("discount_total", decimal(AMOUNT)),
        required("tax_total", decimal(AMOUNT)),
        required("total", decimal(AMOUNT)),
        required("amount_paid", decimal(AMOUNT)),
        required("amount_due", decimal(AMOUNT)),
        required("metadata", DataType::Utf8),
        required("version", DataType::Int64),
        required("created_at", timestamp()),
        required("modified_at", timestamp()),
        required("lines", DataType::List(element(line_fields()))),
        required("payments", DataType::List(element(payment_fields()))),
        required("events", DataType::Utf8),
        // Since version 2.
        text("credits"),
        Field::new("discount", decimal(AMOUNT), true),
        Field::new("discount_percent", decimal(PERCENT), true),
        Field::new("amount_credited", decimal(AMOUNT), true),
        // Since version 3.
        text("tax_rounding"),
        Field::new("profile_version", DataType::Int64, true),
        // JSON.
        text("credited"),
    ]))
});

/// [`schema`] with a nullable text column for each declared key of `metadata`, which come last.
pub(crate) fn with_metadata(keys: &[String]) -> SchemaRef {
    let declared = keys.iter().map(|key| {
        Arc::new(Field::new(
            metadata_columns::column(key),
            DataType::Utf8,
            true,
        ))
    });
    let fields = SCHEMA.fields().iter().cloned().chain(declared);
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

/// The schema of version [`SCHEMA_VERSION`]. Tenant, year and month are in the object's path, not
/// in the rows.
pub fn schema() -> SchemaRef {
    SCHEMA.clone()
}
