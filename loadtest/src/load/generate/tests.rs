#![allow(
    clippy::unwrap_used,
    clippy::float_arithmetic,
    clippy::cast_precision_loss
)]

use chrono::{TimeZone as _, Utc};
use sheaf_model::invoice::input::{Context, TenantRef};
use sheaf_model::{Decimal, Invoice, InvoiceInput, Kind, Status, TenantId};
use uuid::Uuid;

use super::*;

fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 20).unwrap()
}

fn invoices(shape: Shape, count: usize) -> Vec<(u32, Invoice)> {
    let context = Context {
        tenant_id: TenantId(Uuid::nil()),
        now: Utc.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap(),
    };
    let mut generator = Generator::new(shape).unwrap();
    let mut line = Vec::new();
    let mut made = Vec::new();
    for _ in 0..count {
        line.clear();
        let tenant = generator.write(Form::Platform, &mut line);
        let input = InvoiceInput::parse(&line).unwrap();
        let key = tenant_external_id(tenant);
        assert_eq!(
            input.tenant_ref().unwrap(),
            Some(TenantRef::ExternalId(&key))
        );
        made.push((tenant, input.into_invoice(&context).unwrap()));
    }
    made
}

#[test]
fn every_import_is_valid_and_its_payments_cover_what_they_should() {
    let made = invoices(Shape::import(1, 10, day(), 3), 5_000);
    let share = |wanted: Status| {
        made.iter()
            .filter(|(_, invoice)| invoice.status == wanted)
            .count() as f64
            / 5_000.0
    };
    // 70 % of the 97 % that are no credit notes are paid to the penny: one penny off would make
    // them partial.
    assert!(
        (0.65..0.71).contains(&share(Status::Paid)),
        "{}",
        share(Status::Paid)
    );
    assert!((0.08..0.12).contains(&share(Status::PartiallyPaid)));
    let credit_notes = made
        .iter()
        .filter(|(_, invoice)| invoice.kind == Kind::CreditNote);
    assert!((50..300).contains(&credit_notes.count()));
    let first = day() - Days::new(3 * 365);
    for (_, invoice) in &made {
        assert!((first..=day()).contains(&invoice.issue_date.unwrap()));
        assert!(invoice.amount_due >= Decimal::ZERO);
        assert!(invoice.external_id.is_some() && invoice.number.is_some());
    }
}

#[test]
fn line_counts_have_the_mean_that_was_asked_for_and_a_long_tail() {
    for mean in [2.0, 8.0] {
        let shape = Shape {
            lines_mean: mean,
            ..Shape::import(7, 5, day(), 1)
        };
        let counts: Vec<usize> = invoices(shape, 5_000)
            .iter()
            .map(|(_, invoice)| invoice.lines.len())
            .collect();
        let found = counts.iter().sum::<usize>() as f64 / 5_000.0;
        assert!(
            (found - mean).abs() < 0.08 * mean,
            "{found} instead of {mean}"
        );
        let longest = *counts.iter().max().unwrap();
        assert!(
            longest as f64 > 4.0 * mean,
            "the longest has {longest} lines"
        );
    }
}

#[test]
fn singles_are_new_issued_and_equal_in_size() {
    for (_, invoice) in invoices(Shape::single(3, 100), 500) {
        assert_eq!((invoice.lines.len(), invoice.status), (2, Status::Issued));
        assert_eq!(
            (
                invoice.external_id,
                invoice.customer,
                invoice.payments.len()
            ),
            (None, None, 0)
        );
    }
}

#[test]
fn zipf_makes_the_first_tenant_the_largest() {
    let shape = Shape {
        skew: Skew::Zipf(1.0),
        ..Shape::single(3, 50)
    };
    let mut sizes = [0_u32; 50];
    for (tenant, _) in invoices(shape, 5_000) {
        sizes[tenant as usize] += 1;
    }
    // Shares are proportional to 1/n: H(50) is 4.499.
    assert!((1_000..1_225).contains(&sizes[0]), "{}", sizes[0]);
    assert!(sizes[0] > 5 * sizes[9] && sizes[9] > sizes[49]);
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    let bytes = |seed| {
        let mut generator = Generator::new(Shape::import(seed, 20, day(), 2)).unwrap();
        let mut out = Vec::new();
        for _ in 0..200 {
            generator.write(Form::Tenant, &mut out);
        }
        out
    };
    assert_eq!(bytes(42), bytes(42));
    assert_ne!(bytes(42), bytes(43));
}

#[test]
fn shapes_out_of_bounds_are_refused() {
    let shape = Shape::import(1, 1, day(), 1);
    let error = |shape| Generator::new(shape).err();
    assert_eq!(
        error(Shape {
            tenants: 0,
            ..shape.clone()
        }),
        Some(ShapeError::Tenants)
    );
    assert_eq!(
        error(Shape {
            lines_mean: 0.5,
            ..shape.clone()
        }),
        Some(ShapeError::Lines)
    );
    assert_eq!(
        error(Shape {
            lines_mean: f64::NAN,
            ..shape.clone()
        }),
        Some(ShapeError::Lines)
    );
    assert_eq!(
        error(Shape {
            skew: Skew::Zipf(0.0),
            ..shape
        }),
        Some(ShapeError::Zipf)
    );
    assert_eq!(
        error(Shape::import(1, 1, day(), 60)),
        Some(ShapeError::Days)
    );
}
