//! What the tests share: invoices made up by proptest, and tenants of the local cluster.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use chrono::{DateTime, NaiveDate, Utc};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sheaf_model::invoice::totals;
use sheaf_model::{
    Credited, CreditedRate, Currency, Customer, Decimal, Invoice, Kind, Line, Metadata, Payment,
    PaymentKind, Status, TaxRounding, TenantId,
};
use sheaf_store::{ArchivedInvoice, EventRow};
use uuid::Uuid;

pub mod cluster;
pub mod faulty;
pub mod query;

/// A decimal below `bound` units with at most `scale` decimals.
fn decimal(bound: i64, scale: u32) -> impl Strategy<Value = Decimal> {
    (0..bound, 0..=scale).prop_map(|(units, scale)| Decimal::new(units, scale))
}

fn amount() -> impl Strategy<Value = Decimal> {
    prop_oneof![decimal(1_000_000, 2), decimal(99_999_999_999_999, 4)]
}

/// Texts of all planes, with quotes, controls and the empty one, but no NUL, which PostgreSQL
/// refuses.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-zA-Z0-9 ]{1,20}",
        r#"[^\x00]{1,30}"#,
        Just("\u{1F9FE} \"\\\n\t\u{7f} Größe 数量 \u{10FFFF}".to_owned()),
    ]
}

fn date() -> impl Strategy<Value = NaiveDate> {
    (0_i32..84_000).prop_map(|days| NaiveDate::from_epoch_days(days).unwrap())
}

fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    (0_i64..4_000_000_000_000_000)
        .prop_map(|micros| DateTime::from_timestamp_micros(micros).unwrap())
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn line() -> impl Strategy<Value = Line> {
    (
        option::of(text()),
        text(),
        decimal(99_999_999_999_999_999, 6).prop_map(|q| {
            if q.scale() < 6 {
                q / Decimal::from(1_000_000)
            } else {
                q
            }
        }),
        decimal(1_000_000_000, 6),
        (amount(), amount(), amount()),
        decimal(9_999_999, 6).prop_map(|rate| {
            if rate.scale() < 6 {
                Decimal::new(2, 1)
            } else {
                rate
            }
        }),
    )
        .prop_map(
            |(sku, description, quantity, unit_price, (discount, net, tax), tax_rate)| Line {
                sku,
                description,
                quantity: quantity.round_dp(6),
                unit_price,
                discount,
                discount_percent: (!discount.is_zero()).then(|| Decimal::new(125, 1)),
                document_discount: tax,
                tax_rate,
                net,
                tax,
            },
        )
}

fn payment() -> impl Strategy<Value = Payment> {
    (uuid(), text(), amount(), date(), text()).prop_map(
        |(id, reference, amount, paid_on, method)| Payment {
            id,
            reference,
            amount,
            paid_on,
            kind: PaymentKind::ALL[method.len() % 4],
            reverses: (method.len() % 3 == 0).then_some(id),
            method,
        },
    )
}

fn customer() -> impl Strategy<Value = Customer> {
    let some = || option::of(text());
    (some(), text(), some(), some(), some(), some()).prop_map(
        |(external_id, name, email, tax_id, address, country)| Customer {
            external_id,
            name,
            email,
            tax_id,
            address,
            country,
        },
    )
}

fn metadata() -> impl Strategy<Value = Metadata> {
    prop_oneof![
        Just(Metadata::default()),
        vec(("[a-z]{1,8}", text()), 0..5).prop_map(|pairs| {
            let object: serde_json::Map<_, _> =
                pairs.into_iter().map(|(k, v)| (k, v.into())).collect();
            Metadata::parse(&serde_json::Value::Object(object).to_string()).unwrap()
        }),
        Just(Metadata::parse(r#"{"n": [1.50, 1e3, {"deep": null}], "t": true}"#).unwrap()),
    ]
}

fn event() -> impl Strategy<Value = EventRow> {
    (uuid(), text(), text(), option::of(text()), moment(), text()).prop_map(
        |(id, event_type, actor, request_id, created_at, value)| EventRow {
            id,
            event_type,
            actor,
            request_id,
            data: serde_json::json!({ "value": &value, "n": 1 }).to_string(),
            created_at,
            correlation_id: Some(value),
            causation_id: None,
        },
    )
}

/// Any invoice of `tenant` with this id. Its sums need not fit: the archive keeps what it is given.
pub fn archived(
    tenant: TenantId,
    id: Uuid,
    max_lines: usize,
) -> impl Strategy<Value = ArchivedInvoice> {
    let keys = (
        option::of("[a-z0-9-]{1,40}"),
        option::of("[A-Z0-9-]{1,20}"),
        option::of(uuid()),
        option::of(customer()),
    );
    let kinds = prop_oneof![Just(Kind::Invoice), Just(Kind::CreditNote)];
    let states = prop_oneof![
        Just(Status::Draft),
        Just(Status::Issued),
        Just(Status::PartiallyPaid),
        Just(Status::Paid),
        Just(Status::Cancelled)
    ];
    let currencies = prop_oneof![Just("GBP"), Just("JPY"), Just("BHD"), Just("CLF")];
    (
        (keys, kinds, states, currencies),
        (
            option::of(date()),
            option::of(date()),
            1_i64..,
            moment(),
            moment(),
        ),
        (
            vec(line(), 0..=max_lines),
            vec(payment(), 0..4),
            vec(event(), 0..3),
        ),
        [amount(), amount(), amount(), amount(), amount(), amount()],
        metadata(),
    )
        .prop_map(move |(head, dates, lists, amounts, metadata)| {
            let ((external_id, number, customer_id, customer), kind, status, currency) = head;
            let (issue_date, due_date, version, created_at, modified_at) = dates;
            let (lines, payments, events) = lists;
            let [
                subtotal,
                discount_total,
                tax_total,
                total,
                amount_paid,
                amount_due,
            ] = amounts;
            let (line_count, rates) = (lines.len(), totals::taxes(&lines));
            let invoice = Invoice {
                id,
                tenant_id: tenant,
                external_id,
                number,
                kind,
                status,
                currency: Currency::parse(currency).unwrap(),
                customer_id,
                customer,
                issue_date,
                due_date,
                lines,
                payments,
                credits: customer_id,
                discount: amount_due,
                discount_percent: customer_id.map(|_| Decimal::new(5, 0)),
                tax_rounding: [None, Some(TaxRounding::Line), Some(TaxRounding::Document)]
                    [line_count % 3],
                subtotal,
                discount_total,
                tax_total,
                total,
                amount_paid,
                amount_credited: amount_paid,
                credited: customer_id.map(|_| Credited {
                    by_rate: line_count.is_multiple_of(2).then(|| {
                        let of = |of: totals::TaxTotal| CreditedRate {
                            rate: of.rate,
                            net: of.net,
                            tax: of.tax,
                            rounded: u32::from(of.tax.is_zero()),
                        };
                        rates.into_iter().map(of).collect()
                    }),
                    paid_out: amount_paid,
                }),
                amount_due,
                metadata,
                profile_version: customer_id.map(|_| version),
                version,
                created_at,
                modified_at,
            };
            ArchivedInvoice { invoice, events }
        })
}
