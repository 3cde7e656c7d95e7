//! A database as an older release has left it: its migrations, its tables distributed, its rows.
//! Nothing here goes through the store of today.

use std::collections::BTreeSet;
use std::path::Path;

use refinery::{Migration, Runner, Target};
use serde_json::json;
use sheaf_local::{CitusMode, Throwaway};
use sheaf_model::{Invoice, Kind, TenantId, id};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::support::simple;

/// A column and its value as text; none is null.
type Column = (&'static str, Option<String>);

/// A cluster of its own on the suite's topology.
pub(crate) async fn cluster() -> (Throwaway, String) {
    let citus = if sheaf_local::test_env().citus {
        CitusMode::Require
    } else {
        CitusMode::Off
    };
    let cluster = Throwaway::start(citus).await.unwrap();
    let url = cluster.env().database_url().to_owned();
    (cluster, url)
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Brings an empty database to `version` and distributes what there is then, as the release of that
/// schema did.
pub(crate) async fn install(db: &mut Client, version: i32) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/migrations");
    let mut migrations = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        migrations.push(Migration::unapplied(name, &text).unwrap());
    }
    let runner = Runner::new(&migrations).set_target(Target::Version(version));
    let report = runner.run_async(db).await.unwrap();
    assert_eq!(
        report.applied_migrations().len(),
        usize::try_from(version).unwrap()
    );
    let is_citus = "select 1 from pg_extension where extname = 'citus'";
    if db.query_opt(is_citus, &[]).await.unwrap().is_some() {
        distribute(db).await;
    }
    db.batch_execute(include_str!("../../upgrade/make_year.sql"))
        .await
        .unwrap();
}

/// The tables that are there, which later releases may have more of.
async fn distribute(db: &Client) {
    let run = async |statement: String| {
        db.batch_execute(&statement).await.unwrap();
    };
    for table in ["tenants", "api_keys"] {
        run(format!("select create_reference_table('{table}')")).await;
    }
    run(include_str!("../../../../../../citus/hold_shards.sql").to_owned()).await;
    let mut colocate = "colocate_with => 'none', shard_count => 8";
    for table in include_str!("../../../../../../citus/distributed_tables.txt").split_whitespace() {
        let exists = "select to_regclass($1::text) is not null";
        if db.query_one(exists, &[&table]).await.unwrap().get(0) {
            run(format!(
                "select create_distributed_table('{table}', 'tenant_id', {colocate})"
            ))
            .await;
            colocate = "colocate_with => 'invoices'";
        }
    }
}

/// Enters a row. Values are literals whose types PostgreSQL finds.
pub(crate) async fn insert(db: &Client, table: &str, row: &[Column]) {
    let columns: Vec<&str> = row.iter().map(|(column, _)| *column).collect();
    let literal = |value: &Option<String>| match value {
        Some(text) => format!("'{}'", text.replace('\'', "''")),
        None => "null".to_owned(),
    };
    let values: Vec<String> = row.iter().map(|(_, value)| literal(value)).collect();
    let (columns, values) = (columns.join(", "), values.join(", "));
    let insert = format!("insert into {table} ({columns}) values ({values})");
    if let Err(error) = db.batch_execute(&insert).await {
        panic!("{insert}: {error:?}");
    }
}

fn given(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

/// Enters a document, its lines, payments and first event with the columns of schema 8, or of
/// schema 1.
pub(crate) async fn insert_document(db: &Client, i: &Invoice, version: i32) {
    let year = id::year_of(i.id);
    db.execute("select sheaf_make_year($1)", &[&year])
        .await
        .unwrap();
    let key = [("tenant_id", given(i.tenant_id.0)), ("year", given(year))];
    let of = |rest: Vec<Column>| [&key[..], &rest].concat();
    let times = [("created_at", given(i.created_at))];
    let mut row = of(vec![
        ("id", given(i.id)),
        ("external_id", i.external_id.clone()),
        ("number", i.number.clone()),
        ("kind", given(i.kind.as_str())),
        ("status", given(i.status.as_str())),
        ("currency", given(i.currency.code())),
        ("issue_date", i.issue_date.map(|day| day.to_string())),
        ("due_date", i.due_date.map(|day| day.to_string())),
        ("subtotal", given(i.subtotal)),
        ("discount_total", given(i.discount_total)),
        ("tax_total", given(i.tax_total)),
        ("total", given(i.total)),
        ("amount_paid", given(i.amount_paid)),
        ("amount_due", given(i.amount_due)),
        ("line_count", given(i.lines.len())),
        ("payment_count", given(i.payments.len())),
        ("metadata", given(&i.metadata)),
        ("version", given(i.version)),
        ("modified_at", given(i.modified_at)),
    ]);
    row.extend(times.clone());
    if version >= 2 {
        row.push(("credits", i.credits.map(|id| id.to_string())));
        row.push(("amount_credited", given(i.amount_credited)));
    }
    insert(db, "invoices", &row).await;
    for (line, position) in i.lines.iter().zip(1..) {
        let row = of(vec![
            ("invoice_id", given(i.id)),
            ("line_no", given(position)),
            ("description", given(&line.description)),
            ("quantity", given(line.quantity)),
            ("unit_price", given(line.unit_price)),
            ("discount", given(line.discount)),
            ("tax_rate", given(line.tax_rate)),
            ("net", given(line.net)),
            ("tax", given(line.tax)),
        ]);
        insert(db, "invoice_lines", &row).await;
    }
    for payment in &i.payments {
        let mut row = of(vec![
            ("invoice_id", given(i.id)),
            ("id", given(payment.id)),
            ("reference", given(&payment.reference)),
            ("amount", given(payment.amount)),
            ("paid_on", given(payment.paid_on)),
            ("method", given(&payment.method)),
        ]);
        row.extend(times.clone());
        insert(db, "payments", &row).await;
    }
    let mut event = of(vec![
        ("subject_id", given(i.id)),
        ("id", given(id::precise_id(i.created_at))),
        ("event_type", given("invoice.created")),
        ("actor", given("test")),
        ("data", given(i.created_event())),
    ]);
    event.extend(times);
    insert(db, "events", &event).await;
}

pub(crate) async fn insert_tenant(db: &Client, name: &str) -> TenantId {
    let tenant = TenantId(Uuid::now_v7());
    let row = [
        ("id", given(tenant.0)),
        ("name", given(name)),
        ("created_at", given("2024-01-01T00:00:00Z")),
    ];
    insert(db, "tenants", &row).await;
    tenant
}

/// A document as it was before there were ways of rounding its tax.
pub(crate) fn document(tenant: TenantId, mut members: serde_json::Value) -> Invoice {
    members["metadata"] = json!({"of": "an older release"});
    let mut invoice = simple(tenant, members).invoice;
    invoice.tax_rounding = None;
    invoice
}

/// A tenant and the documents that it has.
pub(crate) struct Stock {
    pub(crate) tenant: TenantId,
    pub(crate) profile_version: i64,
    pub(crate) draft: Invoice,
    pub(crate) issued: Invoice,
    pub(crate) paid: Invoice,
    /// Of `issued`.
    pub(crate) note: Invoice,
    /// With an id of 2024, issued into 2025.
    pub(crate) late: Invoice,
    /// Of years that share a table in later releases.
    pub(crate) old: [Invoice; 2],
}

impl Stock {
    pub(crate) fn documents(&self) -> impl Iterator<Item = &Invoice> {
        let [older, old] = &self.old;
        [
            &self.draft,
            &self.issued,
            &self.paid,
            &self.note,
            &self.late,
            older,
            old,
        ]
        .into_iter()
    }

    fn new(tenant: TenantId, nth: i64) -> Self {
        let paid_on = |day: &str| {
            json!([{"reference": "p-1", "amount": "10.00", "paid_on": day,
            "method": "card"}])
        };
        let numbered = |day: &str, number: &str| {
            document(tenant, json!({"issue_date": day, "number": number}))
        };
        let mut issued = numbered("2025-03-01", "INV-2025-000001");
        let mut note = numbered("2025-04-01", "CN-2025-000001");
        (note.kind, note.credits) = (Kind::CreditNote, Some(issued.id));
        issued.amount_credited = note.total;
        let mut late = numbered("2025-01-02", "INV-2025-000002");
        late.id = id::id_for_date("2024-12-30".parse().unwrap());
        Self {
            tenant,
            profile_version: nth + 3,
            draft: document(
                tenant,
                json!({"status": "draft", "external_id": "order-1", "issue_date": "2025-02-03"}),
            ),
            paid: document(
                tenant,
                json!({"issue_date": "2024-03-01", "number": "INV-2024-000001",
                    "payments": paid_on("2024-03-09")}),
            ),
            old: ["1999-05-05", "2008-05-05"].map(|day| {
                document(
                    tenant,
                    json!({"issue_date": day, "external_id": day, "payments": paid_on(day)}),
                )
            }),
            issued,
            note,
            late,
        }
    }

    /// Makes a tenant, enters its documents, and a row of every other table of schema 8.
    pub(crate) async fn insert(db: &Client, nth: i64) -> Self {
        let tenant = insert_tenant(db, &format!("tenant {nth}")).await;
        let stock = Self::new(tenant, nth);
        for document in stock.documents() {
            insert_document(db, document, 8).await;
        }
        let tenant = ("tenant_id", given(tenant.0));
        let at = given("2025-06-01T00:00:00Z");
        let sha: String = format!("\\x{}", "07".repeat(32));
        let [first, last] =
            ["2012-05-01", "2012-05-31"].map(|day| given(id::id_for_date(day.parse().unwrap())));
        let rows: [(&str, Vec<Column>); 10] = [
            (
                "api_keys",
                vec![
                    ("id", given(Uuid::now_v7())),
                    ("name", given("k")),
                    ("role", given("admin")),
                    ("prefix", given("shf")),
                    ("hash", given(format!("\\x{:064x}", nth + 1))),
                    ("created_at", at.clone()),
                ],
            ),
            (
                "customers",
                vec![
                    ("id", given(Uuid::now_v7())),
                    ("external_id", given("c-1")),
                    ("name", given("C")),
                    ("created_at", at.clone()),
                ],
            ),
            (
                "tenant_profiles",
                vec![
                    ("profile", given(format!(r#"{{"name": "Seller {nth}"}}"#))),
                    ("version", given(stock.profile_version)),
                    ("modified_at", at.clone()),
                ],
            ),
            (
                "idempotency_keys",
                vec![
                    ("key", given("key-1")),
                    ("fingerprint", given(&sha)),
                    ("status", given(201)),
                    ("location", given("/v1/invoices/1")),
                    ("body", given("{}")),
                    ("created_at", at.clone()),
                ],
            ),
            (
                "retention",
                vec![
                    ("year", given(2024)),
                    ("legal_hold", given("t")),
                    ("version", given(1)),
                    ("modified_at", at.clone()),
                ],
            ),
            (
                "erasures",
                vec![
                    ("customer_id", given(Uuid::now_v7())),
                    ("requested_at", at.clone()),
                    ("requested_by", given("test")),
                    ("completed_at", at.clone()),
                ],
            ),
            (
                "metadata_columns",
                vec![
                    ("keys", given("{of}")),
                    ("version", given(1)),
                    ("modified_at", at.clone()),
                ],
            ),
            (
                "archive_recalls",
                vec![
                    ("invoice_id", given(Uuid::now_v7())),
                    ("year", given(2012)),
                    ("object_key", given("o")),
                    ("recalled_at", at.clone()),
                ],
            ),
            (
                "archive_files",
                vec![
                    ("period", given("2012-05")),
                    ("part", given(0)),
                    ("generation", given(1)),
                    ("year", given(2012)),
                    ("object_key", given("o")),
                    ("state", given("published")),
                    ("min_id", first),
                    ("max_id", last),
                    ("invoices", given(1)),
                    ("sha256", given(&sha)),
                    ("schema_version", given(5)),
                    ("staged_at", at.clone()),
                    ("published_at", at.clone()),
                ],
            ),
            // The row of year 0 is the form; 2025 counts.
            (
                "number_series",
                vec![
                    ("series", given("invoice")),
                    ("year", given(0)),
                    ("prefix", given("INV-{year}-")),
                    ("padding", given(6)),
                    ("next", given(1)),
                ],
            ),
        ];
        for (table, row) in rows {
            insert(
                db,
                table,
                &[std::slice::from_ref(&tenant), &row[..]].concat(),
            )
            .await;
        }
        let counted = [
            ("series", given("invoice")),
            ("year", given(2025)),
            ("prefix", given("INV-{year}-")),
            ("padding", given(6)),
            ("next", given(3)),
        ];
        insert(db, "number_series", &[&[tenant], &counted[..]].concat()).await;
        stock
    }
}

/// Rows of every table of the database but the migrations' own, by table.
pub(crate) async fn rows(db: &Client) -> Vec<(String, i64)> {
    let tables: BTreeSet<&str> = include_str!("../../../../../../citus/distributed_tables.txt")
        .split_whitespace()
        .chain(["tenants", "api_keys"])
        .collect();
    let mut counted = Vec::new();
    for table in tables {
        let exists = "select to_regclass($1::text) is not null";
        if db.query_one(exists, &[&table]).await.unwrap().get(0) {
            let count = format!("select count(*) from {table}");
            let rows = db.query_one(&count, &[]).await.unwrap().get(0);
            counted.push((table.to_owned(), rows));
        }
    }
    counted
}
