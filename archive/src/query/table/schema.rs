//! The tables that a query sees, and where their columns come from.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use crate::file::schema;

/// Columns of the path, Hive style; the month of an invoice in a file of a year is that of its id.
pub(crate) const TENANT: &str = "tenant_id";
pub(crate) const YEAR: &str = "year";
pub(crate) const MONTH: &str = "month";

/// Where a table's column comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// A column of the invoice with this name.
    Invoice(&'static str),
    /// A declared key of `metadata`: the column of this name.
    Declared,
    /// A field of the list's elements, by position in [`List::fields`].
    Element(usize),
    /// A column of the path.
    Path(&'static str),
}

/// What a row of the table is, where it is not an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// A list of structs in the file.
    Structs,
    /// JSON text in the file.
    Events,
}

/// A list whose elements are the table's rows.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) column: &'static str,
    pub(crate) kind: ListKind,
    pub(crate) fields: Fields,
    /// Position of a field that every version of the schema has: a struct of none but missing
    /// fields cannot be read.
    pub(crate) anchor: usize,
}

/// A table.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) schema: SchemaRef,
    /// Of each column of `schema`.
    pub(crate) origins: Vec<Origin>,
    pub(crate) list: Option<List>,
}

/// The columns of the path that are the same in all rows of a file.
pub(crate) fn path_fields() -> Vec<FieldRef> {
    vec![
        Arc::new(Field::new(TENANT, DataType::Utf8, false)),
        Arc::new(Field::new(YEAR, DataType::Int32, false)),
    ]
}

/// The month, which no file has as a column.
pub(crate) fn month_field() -> FieldRef {
    Arc::new(Field::new(MONTH, DataType::Int32, false))
}

/// A column of the file as it is read: texts as views, which are not copied while rows are filtered
/// and grouped.
fn as_read(field: &FieldRef) -> FieldRef {
    match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    }
}

/// The invoice's columns as a scan declares them. Of the list at `list`, only the fields that stand
/// there.
pub(crate) fn file_schema(list: Option<(&'static str, Fields)>, keys: &[String]) -> SchemaRef {
    let schema = schema::with_metadata(keys);
    let fields = schema.fields().iter().map(|field| match &list {
        Some((name, fields)) if field.name() == name => {
            let element = schema::element(fields.clone());
            Arc::new(
                field
                    .as_ref()
                    .clone()
                    .with_data_type(DataType::List(element)),
            )
        }
        _ => as_read(field),
    });
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

/// The fields of an element of `events`, as the JSON text has them.
fn event_fields() -> Fields {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Fields::from(vec![
        text("id", false),
        text("event_type", false),
        Field::new("created_at", moment, false),
        text("actor", false),
        text("request_id", true),
        text("correlation_id", true),
        text("causation_id", true),
        text("data", false),
    ])
}

/// A column's name here, and in the file.
type Named = (&'static str, &'static str);

const CUSTOMER: [Named; 4] = [
    ("customer_id", "customer_id"),
    ("customer_external_id", "customer_external_id"),
    ("customer_name", "customer_name"),
    ("customer_country", "customer_country"),
];

fn shape(name: &'static str, header: &[Named], list: Option<(List, &[&'static str])>) -> Shape {
    let source = file_schema(None, &[]);
    let mut fields: Vec<FieldRef> = Vec::new();
    let mut origins = Vec::new();
    for (column, from) in header {
        if let Some((_, field)) = source.column_with_name(from) {
            fields.push(Arc::new(field.clone().with_name(*column)));
            origins.push(Origin::Invoice(from));
        }
    }
    let list = list.map(|(list, names)| {
        for (at, (field, column)) in list.fields.iter().zip(names).enumerate() {
            fields.push(Arc::new(field.as_ref().clone().with_name(*column)));
            origins.push(Origin::Element(at));
        }
        list
    });
    let path = path_fields().into_iter().chain([month_field()]);
    for (field, column) in path.zip([TENANT, YEAR, MONTH]) {
        fields.push(field);
        origins.push(Origin::Path(column));
    }
    Shape {
        name,
        schema: Arc::new(Schema::new(fields)),
        origins,
        list,
    }
}

/// The header columns of `invoices`; the lists are tables of their own.
const INVOICE: [&str; 30] = [
    "id",
    "external_id",
    "number",
    "kind",
    "status",
    "currency",
    "customer_id",
    "customer_external_id",
    "customer_name",
    "customer_email",
    "customer_tax_id",
    "customer_address",
    "customer_country",
    "issue_date",
    "due_date",
    "subtotal",
    "discount_total",
    "tax_total",
    "total",
    "amount_paid",
    "amount_due",
    "metadata",
    "version",
    "created_at",
    "modified_at",
    "credits",
    "discount",
    "discount_percent",
    "amount_credited",
    "tax_rounding",
];

/// All tables; `invoices` has a column for each of `keys`.
pub(crate) fn shapes(keys: &[String]) -> Vec<Shape> {
    let invoices = INVOICE.map(|name| (name, name));
    let id = [("invoice_id", "id"), ("number", "number")];
    let renamed = [("invoice_kind", "kind"), ("invoice_status", "status")];
    let dates = [("issue_date", "issue_date"), ("due_date", "due_date")];
    let kept = [("kind", "kind"), ("status", "status")];
    let currency = [("currency", "currency")];
    let lines = [&id[..], &kept, &currency, &CUSTOMER, &dates].concat();
    let payments = [&id[..], &renamed, &currency, &CUSTOMER, &dates].concat();
    let events = [&id[..], &renamed].concat();
    vec![
        with_declared(shape("invoices", &invoices, None), keys),
        shape("lines", &lines, Some((line_list(), &LINE))),
        shape("payments", &payments, Some((payment_list(), &PAYMENT))),
        shape("events", &events, Some((event_list(), &EVENT))),
    ]
}

/// The table with the columns of declared keys, which come last.
fn with_declared(mut shape: Shape, keys: &[String]) -> Shape {
    let all = file_schema(None, keys);
    let declared = all.fields().iter().rev().take(keys.len()).rev();
    let fields = shape.schema.fields().iter().chain(declared).cloned();
    shape.schema = Arc::new(Schema::new(fields.collect::<Fields>()));
    shape.origins.extend(keys.iter().map(|_| Origin::Declared));
    shape
}

const LINE: [&str; 11] = [
    "line_no",
    "sku",
    "description",
    "quantity",
    "unit_price",
    "discount",
    "tax_rate",
    "net",
    "tax",
    "discount_percent",
    "document_discount",
];
const PAYMENT: [&str; 7] = [
    "payment_id",
    "reference",
    "amount",
    "paid_on",
    "method",
    "kind",
    "reverses",
];
const EVENT: [&str; 8] = [
    "event_id",
    "event_type",
    "occurred_at",
    "actor",
    "request_id",
    "correlation_id",
    "causation_id",
    "data",
];

fn line_list() -> List {
    List {
        column: "lines",
        kind: ListKind::Structs,
        fields: schema::line_fields(),
        anchor: 0,
    }
}

fn payment_list() -> List {
    List {
        column: "payments",
        kind: ListKind::Structs,
        fields: schema::payment_fields(),
        // The day: the smallest column.
        anchor: 3,
    }
}

fn event_list() -> List {
    List {
        column: "events",
        kind: ListKind::Events,
        fields: event_fields(),
        anchor: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_of_the_archive_is_in_a_table_under_one_name() {
        let shapes = shapes(&["project".to_owned()]);
        let last = shapes[0]
            .schema
            .fields()
            .last()
            .map(|field| field.name().as_str());
        assert_eq!(last, Some("meta_project"));
        let names: Vec<&str> = shapes.iter().map(|shape| shape.name).collect();
        assert_eq!(names, ["invoices", "lines", "payments", "events"]);
        for shape in &shapes {
            assert_eq!(shape.schema.fields().len(), shape.origins.len());
            let mut columns: Vec<&String> =
                shape.schema.fields().iter().map(|f| f.name()).collect();
            let count = columns.len();
            columns.sort();
            columns.dedup();
            assert_eq!(columns.len(), count, "{}", shape.name);
        }
        let lists = ["lines", "payments", "events"];
        let header = schema::schema().fields().len() - lists.len();
        // What the house keeps for itself: the profile's version, and what was credited by rate.
        let internal = ["profile_version", "credited"];
        assert!(
            internal
                .iter()
                .all(|name| schema::schema().index_of(name).is_ok())
        );
        assert_eq!(INVOICE.len(), header - internal.len());
        let elements = |at: usize| {
            let of_list = |origin: &&Origin| matches!(origin, Origin::Element(_));
            shapes[at].origins.iter().filter(of_list).count()
        };
        assert_eq!(elements(1), schema::line_fields().len());
        assert_eq!(elements(2), schema::payment_fields().len());
        assert_eq!(elements(3), event_fields().len());
    }
}
