#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn line(net: i64, rate: i64, exponent: u32) -> Line {
    Line {
        sku: None,
        description: String::new(),
        quantity: Decimal::ONE,
        unit_price: Decimal::ZERO,
        discount: Decimal::ZERO,
        discount_percent: None,
        document_discount: Decimal::ZERO,
        tax_rate: Decimal::new(rate, 6),
        net: Decimal::new(net, exponent),
        tax: Decimal::ZERO,
    }
}

fn taxes(nets: &[i64], rate: i64) -> Vec<i64> {
    let mut lines: Vec<Line> = nets.iter().map(|net| line(*net, rate, 2)).collect();
    share_tax(&mut lines, 2).unwrap();
    lines
        .iter()
        .map(|line| units(line.tax, 2).unwrap())
        .collect()
}

#[test]
fn units_go_to_the_largest_remainders_the_earlier_line_first() {
    // 1.14 of 300 lines, each 0.0038: the first 114.
    let shares = taxes(&[2; 300], 190_000);
    assert_eq!(shares.iter().sum::<i64>(), 114);
    assert!(shares[..114].iter().all(|share| *share == 1));
    assert!(shares[114..].iter().all(|share| *share == 0));
    assert_eq!(taxes(&[3335, 3335, 3335], 190_000), [634, 634, 633]);
    // 0.0019, 0.0171, 0.0095: the second lost most.
    assert_eq!(taxes(&[1, 9, 5], 190_000), [0, 2, 1]);
    assert_eq!(taxes(&[1, 4, 4], 190_000), [0, 1, 1]);
    // Towards minus infinity: -0.1425 is -0.15 at first, and gets its unit back before 0.0475 gets
    // one.
    assert_eq!(taxes(&[-75, 25], 190_000), [-14, 4]);
    // Half away from zero, of the sum.
    assert_eq!(taxes(&[-50], 10_000), [-1]);
    assert_eq!(taxes(&[50], 10_000), [1]);
    assert_eq!(taxes(&[-25, -25], 10_000), [0, -1]);
    assert_eq!(taxes(&[], 190_000), [0; 0]);
}

#[test]
fn a_whole_far_from_the_quotas_is_borne_by_all_lines_alike() {
    let mut lines = [100, 100, 100].map(|net| line(net, 190_000, 2));
    share_tax_of(&mut lines, 2, |_| Some(Some(Decimal::new(50, 2)))).unwrap();
    let taxes = lines.map(|line| units(line.tax, 2).unwrap());
    assert_eq!(taxes, [17, 17, 16]);
}

#[test]
fn only_whole_units_in_range_are_shared() {
    assert_eq!(units(Decimal::new(1100, 4), 2), Some(11));
    assert_eq!(units(Decimal::new(1101, 4), 2), None);
    assert_eq!(units(Decimal::MAX, 0), None);
    assert_eq!(units(Decimal::new(-5, 0), 4), Some(-50_000));
    let most = i64::MAX;
    assert_eq!(rounded(most, Fraction(ONE, ONE)), Some(most));
    assert_eq!(rounded(most, Fraction(2 * ONE, ONE)), None);
    assert_eq!(rounded(-most, Fraction(ONE / 2, ONE)), Some(-most / 2 - 1));
}

proptest! {
    /// Shares of any whole add up to it, and are near their quotas where the whole is near theirs.
    #[test]
    fn shares_add_up(
        nets in prop::collection::vec(-1_000_000_000_000_000_000_i64..1_000_000_000_000_000_000,
            1..40),
        rate in 0_i64..=ONE, off in -3_i64..=3,
    ) {
        let mut parts: Vec<Part> = nets.iter().enumerate()
            .map(|(line, net)| Part { line, net: *net, ..Part::default() })
            .collect();
        let fraction = Fraction(rate, ONE);
        let sum: i128 = nets.iter().map(|net| i128::from(*net)).sum();
        let Ok(sum) = i64::try_from(sum) else { return Ok(()) };
        let near = rounded(sum, fraction).unwrap();
        let whole = near + off;
        share_out(&mut parts, whole, fraction).unwrap();
        let shared: i128 = parts.iter().map(|part| i128::from(part.share)).sum();
        prop_assert_eq!(shared, i128::from(whole));
        for part in parts.iter().filter(|_| off == 0) {
            let exact = i128::from(part.net) * i128::from(rate);
            let distance = i128::from(part.share) * i128::from(ONE) - exact;
            prop_assert!(distance.abs() < i128::from(ONE), "{} of {}", part.share, part.net);
        }
    }
}
