#![allow(clippy::unwrap_used)]

use super::super::costs::{Cost, Measurement};
use super::super::prices::{Class, Disk, Node};
use super::super::scaling::Point;
use super::super::target::Weight;
use super::super::text::{self, Form};
use super::*;

fn cost(work: Work, resource: Resource, value: f64) -> Cost {
    Cost {
        work,
        resource,
        value,
        n: 5,
        residual: 0.0,
        units: 1e6,
    }
}

/// Round numbers, to be computed by hand.
fn costs() -> Costs {
    use Resource::{ColdBytes, CpuS, HotBytes, ObjectBytes, ObjectGets, WalBytes};
    Costs(vec![Measurement {
        format: 1,
        workers: 2,
        costs: vec![
            cost(Work::Create, CpuS, 200e-6),
            cost(Work::Pay, CpuS, 100e-6),
            cost(Work::GetHot, CpuS, 50e-6),
            cost(Work::List, CpuS, 400e-6),
            cost(Work::GetCold, CpuS, 1_000e-6),
            cost(Work::Tier, CpuS, 30e-6),
            cost(Work::Create, WalBytes, 4_000.0),
            cost(Work::Pay, WalBytes, 1_000.0),
            cost(Work::Keep, HotBytes, 2_000.0),
            cost(Work::Keep, ColdBytes, 100.0),
            cost(Work::GetCold, ObjectGets, 1.5),
            cost(Work::GetCold, ObjectBytes, 50_000.0),
        ],
        ..Measurement::default()
    }])
}

fn prices() -> Prices {
    let class = |name: &str, from_month, gb_month, get_1000, retrieval_gb| Class {
        name: name.to_owned(),
        from_month,
        gb_month,
        put_1000: 0.005,
        get_1000,
        retrieval_gb,
    };
    Prices {
        currency: "USD".to_owned(),
        node: Node {
            hour: 0.5,
            vcpu: 4.0,
            vcpu_speed: 0.5,
            disk_gb: 2_000.0,
        },
        disk: Disk { gb_month: 0.1 },
        objects: vec![
            class("standard", 0.0, 0.02, 0.0004, 0.0),
            class("cold", 12.0, 0.01, 0.001, 0.01),
        ],
        egress_gb: 0.09,
    }
}

/// 120 million a year for 10 years.
fn target() -> Target {
    Target {
        peak_per_minute: 60_000.0,
        invoices: 1.2e9,
        years: 10,
        ..Target::default()
    }
}

fn find<'a>(plan: &'a Plan, year: usize, name: &str) -> &'a Figure {
    let mut figures = plan.years[year - 1].figures.iter();
    figures.find(|figure| figure.name == name).unwrap()
}

fn assert_about(plan: &Plan, name: &str, expected: f64) {
    let found = find(plan, 10, name);
    let value = found.estimate.value;
    assert!(
        (value / expected - 1.0).abs() < 1e-6,
        "{name}: {value} instead of {expected}; {}",
        found.worked
    );
}

#[test]
fn the_last_year_by_hand() {
    let plan = plan(&target(), &costs(), &prices()).unwrap();
    // Hot for 13 months: 130 million; 1,070 million archived, 950 a year before, 1,010 in the
    // middle.
    assert_about(&plan, "hot", 130e6);
    assert_about(&plan, "archived", 1_070e6);
    // 1,000 a second x (200 + 1 x 100 + 2 x 50 + 0.2 x 400 + cold reads 0.01 x 1,010 / 120 x 1,000
    // + 30 us) / 0.5.
    let cold = 0.01 * 1_010e6 / 120e6;
    assert_about(
        &plan,
        "CPUs at the peak",
        1_000.0 * (510e-6 + cold * 1_000e-6) / 0.5,
    );
    // (130 million x 2,000 B + a day's 328,542 invoices x 5,000 B) x 2 copies / 0.7.
    assert_about(
        &plan,
        "disk",
        (260.0 + 120e6 / 365.25 * 5_000.0 / 1e9) * 2.0 / 0.7,
    );
    // 1.18832 cores / 2 = 0.6 nodes; 373.8 GB a copy / 2,000: one node, and a standby.
    assert_about(&plan, "nodes", 2.0);
    assert_about(&plan, "archive", 107.0);
    // 10 million a month for 100 tenants: 100,000 each, one part.
    assert_about(&plan, "new objects", 1_200.0);
    assert_about(&plan, "GETs", 10.1e6 * 1.5 + 1_200.0);
    assert_about(&plan, "nodes' price", 2.0 * 8_766.0 * 0.5);
    assert_about(
        &plan,
        "disks' price",
        find(&plan, 10, "disk").estimate.value * 1.2,
    );
    // Of the 1,010 million, 890 are older than a year.
    let (old, new) = (890.0 / 1_010.0, 120.0 / 1_010.0);
    assert_about(
        &plan,
        "objects' price",
        101.0 * 12.0 * (new * 0.02 + old * 0.01),
    );
    let gets = (10.1e6 * 1.5 + 1_200.0) / 1_000.0 * (new * 0.000_4 + old * 0.001);
    let read = 10.1e6 * 50_000.0 / 1e9 * old * 0.01;
    assert_about(
        &plan,
        "requests' price",
        1_200.0 * 0.01 / 1_000.0 + gets + read,
    );
    assert_about(
        &plan,
        "egress' price",
        (120e6 * 6.0 + 10.1e6) * 2_000.0 / 1e9 * 0.09,
    );
    let parts = [
        "nodes' price",
        "disks' price",
        "objects' price",
        "requests' price",
        "egress' price",
    ];
    let sum: f64 = parts
        .iter()
        .map(|name| find(&plan, 10, name).estimate.value)
        .sum();
    assert_about(&plan, "price of the year", sum);
    let years: f64 = (1..=10)
        .map(|year| find(&plan, year, "price of the year").estimate.value)
        .sum();
    assert!((plan.total.value / years - 1.0).abs() < 1e-12);
}

#[test]
fn the_first_years_cost_less_and_need_no_archive() {
    let plan = plan(&target(), &costs(), &prices()).unwrap();
    assert!(find(&plan, 1, "archive").estimate.value < 1e-9);
    assert!(find(&plan, 1, "GETs").estimate.value < 1e-9);
    assert!(find(&plan, 2, "new objects").estimate.value > 1_000.0);
    let price = |year| find(&plan, year, "price of the year").estimate.value;
    assert!(price(1) < price(2) && price(2) < price(10));
}

#[test]
fn what_was_measured_and_what_was_not_is_told_apart() {
    let plan = plan(&target(), &costs(), &prices()).unwrap();
    let basis = |name: &str| find(&plan, 10, name).estimate.basis;
    assert_eq!(basis("created"), Basis::Given);
    assert_eq!(basis("new objects"), Basis::Design);
    assert_eq!(basis("archive"), Basis::Measured);
    // 130 million on 2 workers, measured with 1 million.
    assert_eq!(basis("disk"), Basis::Extrapolated);
    let text = text::write(&plan, Form::Markdown);
    assert!(
        text.contains("65 million") || text.contains("130 million"),
        "{text}"
    );
    assert!(text.contains("ASSUMED to do the same each"), "{text}");
    assert!(text.contains("| disk | "), "{text}");
    let near = Target {
        invoices: 1e8,
        ..target()
    };
    let near = super::plan(&near, &costs(), &prices()).unwrap();
    assert_eq!(find(&near, 10, "disk").estimate.basis, Basis::Measured);
}

#[test]
fn noise_widens_the_bounds_and_is_named() {
    let mut noisy = costs();
    noisy.0[0].costs[0].residual = 0.2;
    let plan = plan(&target(), &noisy, &prices()).unwrap();
    let cores = find(&plan, 10, "CPUs at the peak").estimate;
    // 2.776 x 20% / sqrt(5) of the create's 200 us, doubled by the utilisation.
    let reach = 2.776 * 0.2 / 5.0_f64.sqrt() * 200e-6 * 1_000.0 / 0.5;
    assert!((cores.high - cores.value - reach).abs() < 1e-9);
    assert!((cores.value - cores.low - reach).abs() < 1e-9);
    assert!(
        plan.findings
            .iter()
            .any(|finding| finding.text.contains("create.cpu_s scatters by 20%"))
    );
}

#[test]
fn what_the_target_needs_and_nobody_measured_is_named() {
    let mut few = costs();
    few.0[0]
        .costs
        .retain(|cost| !matches!(cost.work, Work::Pay | Work::GetCold));
    let error = plan(&target(), &few, &prices()).unwrap_err().to_string();
    assert!(
        error.contains("get_cold.cpu_s") && error.contains("pay.wal_bytes"),
        "{error}"
    );
    let without = Target {
        payments: 0.0,
        cold_reads: 0.0,
        ..target()
    };
    assert!(plan(&without, &few, &prices()).is_ok());
}

fn with_scaling(points: &[(u32, f64)]) -> Costs {
    let mut costs = costs();
    let point = |(workers, per_second): &(u32, f64)| Point {
        workers: *workers,
        per_second: *per_second,
    };
    costs.0[0].scaling = points.iter().map(point).collect();
    costs
}

#[test]
fn the_law_of_scaling_adds_nodes_and_refuses_what_is_too_far() {
    // Sigma 0.1, kappa 0: 1,000, 1,818.2, 3,076.9.
    let contended = with_scaling(&[(1, 1_000.0), (2, 1_818.182), (2, 1_818.182), (4, 3_076.923)]);
    let big = Target {
        peak_per_minute: 600_000.0,
        cold_reads: 0.0,
        ..target()
    };
    // 10,200 us x 1,000 / 0.5 = 10.2 cores / 2 = 5.1 nodes alone; N / (1 + 0.1 (N-1)) >= 5.1 from N
    // = 9.37.
    let planned = plan(&big, &contended, &prices()).unwrap();
    assert_about(&planned, "nodes", 20.0);
    assert_eq!(
        find(&planned, 10, "nodes").estimate.basis,
        Basis::Extrapolated
    );
    assert!(planned.findings.iter().any(|finding| {
        finding
            .text
            .contains("10 nodes were never measured (at most 4 were)")
    }));
    // 51 nodes alone: with sigma 0.1 no number does that; nothing is said beyond 32.
    let huge = Target {
        peak_per_minute: 6e6,
        ..big
    };
    let planned = plan(&huge, &contended, &prices()).unwrap();
    assert!(find(&planned, 10, "nodes").estimate.value.is_infinite());
    assert!(
        planned
            .findings
            .iter()
            .any(|finding| finding.weight == Weight::Contradiction
                && finding.text.contains("REFUSED"))
    );
    assert!(text::write(&planned, Form::Plain).contains("none is enough"));
}
