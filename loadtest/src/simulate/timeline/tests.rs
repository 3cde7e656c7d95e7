#![allow(
    clippy::unwrap_used,
    clippy::float_arithmetic,
    clippy::cast_precision_loss
)]

use std::collections::HashSet;

use sheaf_model::invoice::input::Context;
use sheaf_model::{InvoiceInput, Status, TenantId};

use super::*;
use crate::load::generate::{Dated, Generator, Shape};

fn outline() -> Outline {
    Outline {
        seed: 7,
        first_year: 2019,
        years: 3,
        invoices: 10_000,
        tenants: 20,
        zipf: 1.0,
        paid_later: 50,
        hot_months: 12,
    }
}

fn timeline() -> Timeline {
    Timeline::new(outline()).unwrap()
}

#[test]
fn months_share_the_invoices_evenly_and_every_number_knows_its_month() {
    let timeline = timeline();
    assert_eq!((timeline.before(0), timeline.before(36)), (0, 10_000));
    for month in 0..36 {
        let numbers = timeline.before(month)..timeline.before(month + 1);
        assert!((277..=278).contains(&(numbers.end - numbers.start)));
        for number in numbers {
            let entry = timeline.entry(number);
            assert_eq!(entry.month, month);
            let period = timeline.period(month);
            assert_eq!(Period::of_date(entry.issued), period);
            assert_eq!(Period::of(entry.id), period);
            assert_eq!(
                Period::of_date(entry.paid_on),
                timeline.period(entry.paid_month)
            );
            assert!(entry.paid_on >= entry.issued);
        }
    }
}

#[test]
fn an_id_leads_back_to_its_invoice_and_a_strange_one_does_not() {
    let timeline = timeline();
    let mut ids = HashSet::new();
    for number in 0..10_000 {
        let entry = timeline.entry(number);
        assert_eq!(timeline.find(entry.id), Some(entry));
        assert!(ids.insert(entry.id));
    }
    assert_eq!(timeline.find(Uuid::now_v7()), None);
    let other = Timeline::new(Outline {
        seed: 8,
        ..outline()
    })
    .unwrap();
    assert_eq!(timeline.find(other.entry(5).id), None);
}

#[test]
fn most_invoices_are_settled_within_two_months_and_a_few_stay_open() {
    let timeline = timeline();
    let entries: Vec<Entry> = (0..10_000).map(|number| timeline.entry(number)).collect();
    let later: Vec<&Entry> = entries.iter().filter(|entry| !entry.paid_at_once).collect();
    // 50 of each month's 277 or 278.
    assert!((1_650..1_950).contains(&later.len()), "{}", later.len());
    assert!(later.iter().all(|entry| !entry.credit_note));
    let slow = later
        .iter()
        .filter(|entry| entry.paid_month > entry.month + 2);
    let slow = slow.count() as f64 / later.len() as f64;
    assert!((0.03..0.07).contains(&slow), "{slow}");
    let longest = entries
        .iter()
        .map(|entry| entry.paid_month - entry.month)
        .max();
    assert!(
        longest.is_some_and(|longest| (13..=18).contains(&longest)),
        "{longest:?}"
    );
}

#[test]
fn tiering_takes_what_is_old_and_settled_and_nothing_in_the_first_year() {
    let timeline = timeline();
    for number in 0..10_000 {
        let entry = timeline.entry(number);
        let after = timeline.archived_after(&entry);
        assert!(after >= 12 && after >= entry.month + 12 && after >= entry.paid_month);
        // As `sheaf tier run --as-of` reckons on the day after that month: whole months before the
        // horizon.
        let horizon = timeline
            .day_after(after)
            .checked_sub_months(chrono::Months::new(12));
        assert!(Period::of(entry.id) < Period::of_date(horizon.unwrap()));
    }
}

#[test]
fn draws_are_hot_or_archived_as_asked() {
    let (timeline, mut rng) = (timeline(), ChaCha8Rng::seed_from_u64(1));
    assert_eq!(timeline.any_cold(12, &mut rng), None);
    for month in [0, 12, 13, 20, 35] {
        for _ in 0..200 {
            let hot = timeline.any_hot(month, &mut rng).unwrap();
            assert!(hot.month <= month && timeline.archived_after(&hot) >= month);
            if month > 12 {
                let cold = timeline.any_cold(month, &mut rng).unwrap();
                assert!(timeline.archived_after(&cold) < month);
            }
        }
    }
}

#[test]
fn the_largest_tenant_has_the_share_of_zipfs_law() {
    let timeline = timeline();
    let first = (0..10_000).filter(|number| timeline.entry(*number).tenant == 0);
    // 1 / (1 + 1/2 + ... + 1/20).
    let share = first.count() as f64 / 10_000.0;
    assert!((share - 0.278).abs() < 0.02, "{share}");
}

#[test]
fn impossible_outlines_are_refused() {
    let error = |outline| Timeline::new(outline).err();
    let years = |first_year, years| Outline {
        first_year,
        years,
        ..outline()
    };
    assert_eq!(error(years(1969, 3)), Some(OutlineError::Years));
    assert_eq!(error(years(2199, 2)), Some(OutlineError::Years));
    assert_eq!(error(years(2020, 0)), Some(OutlineError::Years));
    assert_eq!(
        error(Outline {
            invoices: 35,
            ..outline()
        }),
        Some(OutlineError::Invoices)
    );
    assert_eq!(
        error(Outline {
            tenants: 0,
            ..outline()
        }),
        Some(OutlineError::Tenants)
    );
    assert_eq!(
        error(Outline {
            zipf: f64::NAN,
            ..outline()
        }),
        Some(OutlineError::Tenants)
    );
    assert_eq!(
        error(Outline {
            hot_months: 0,
            ..outline()
        }),
        Some(OutlineError::HotMonths)
    );
}

#[test]
fn documents_are_valid_settled_as_said_and_the_same_when_made_again() {
    let timeline = timeline();
    let shape = Shape::import(7, 20, timeline.day_after(35), 1);
    let mut generator = Generator::new(shape.clone()).unwrap();
    let mut again = Generator::new(shape).unwrap();
    let context = Context {
        tenant_id: TenantId(Uuid::nil()),
        now: chrono::Utc::now(),
    };
    for number in (0..10_000).rev().step_by(7) {
        let entry = timeline.entry(number);
        let dated = Dated {
            number,
            tenant: entry.tenant,
            tenant_id: Uuid::nil(),
            id: entry.id,
            issued: entry.issued,
            paid_on: entry.paid_at_once.then_some(entry.paid_on),
            credit_note: entry.credit_note,
        };
        let (mut document, mut same) = (Vec::new(), Vec::new());
        let total = generator.write_dated(&dated, &mut document);
        if number % 2 == 0 {
            assert_eq!(again.write_dated(&dated, &mut same), total);
            assert_eq!(document, same);
        }
        let invoice = InvoiceInput::parse(&document)
            .unwrap()
            .into_invoice(&context)
            .unwrap();
        assert_eq!(
            (invoice.id, invoice.issue_date),
            (entry.id, Some(entry.issued))
        );
        assert_eq!(invoice.status == Status::Paid, entry.paid_at_once);
        assert_eq!(
            crate::load::generate::minor(total),
            format!("{:.2}", invoice.total)
        );
    }
}
