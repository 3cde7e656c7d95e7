#![allow(clippy::unwrap_used)]
use std::str::FromStr;

use proptest::prelude::*;

use super::*;

fn dec(text: &str) -> Decimal {
    Decimal::from_str(text).unwrap()
}

#[test]
fn exact_values() {
    for (token, expected) in [
        ("0", "0"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("12.50", "12.5"),
        ("\"12.50\"", "12.5"),
        ("\"007\"", "7"),
        ("-3", "-3"),
        ("\"-0.001\"", "-0.001"),
        ("1e3", "1000"),
        ("1.5E2", "150"),
        ("25e-1", "2.5"),
        ("1000e-3", "1"),
        ("0e999999999999999999999", "0"),
        ("\"\\u0031\"", "1"),
        ("0.1", "0.1"),
        ("1e27", "1000000000000000000000000000"),
        (
            "9999999999999999999999999999",
            "9999999999999999999999999999",
        ),
        (
            "0.0000000000000000000000000001",
            "0.0000000000000000000000000001",
        ),
        (
            "1.50000000000000000000000000000000000000000000000000",
            "1.5",
        ),
    ] {
        let value = read_exact(token).unwrap();
        assert_eq!(
            (value, value.scale()),
            (dec(expected), dec(expected).scale()),
            "{token}"
        );
    }
    assert!(!read_exact("-0").unwrap().is_sign_negative());
}

#[test]
fn refusals_have_their_codes() {
    for token in [
        "\"\"",
        "\"abc\"",
        "\"1e3\"",
        "\"+1\"",
        "\".5\"",
        "\"5.\"",
        "\" 1\"",
        "\"1,5\"",
        "\"-\"",
        "\"٣\"",
        "true",
        "null",
        "[]",
        "{}",
        "\"--1\"",
        "\"",
        "",
        "1e",
        "\"NaN\"",
        "\"1.2.3\"",
    ] {
        assert_eq!(
            read_exact(token).unwrap_err().code,
            "invalid_type",
            "{token}"
        );
    }
    for token in [
        "1e28",
        "1e99999999999999999999",
        "99999999999999999999999999999",
        "\"123456789012345678901234567890\"",
    ] {
        assert_eq!(
            read_exact(token).unwrap_err().code,
            "amount_out_of_range",
            "{token}"
        );
    }
    for token in [
        "1e-29",
        "1e-99999999999999999999",
        "0.12345678901234567890123456789",
    ] {
        assert_eq!(
            read_exact(token).unwrap_err().code,
            "too_many_decimals",
            "{token}"
        );
    }
}

#[test]
fn half_up_rounds_away_from_zero() {
    for (value, exponent, expected) in [
        ("0.005", 2, "0.01"),
        ("0.0049999", 2, "0"),
        ("-0.005", 2, "-0.01"),
        ("2.5", 0, "3"),
        ("0.125", 2, "0.13"),
        ("1.00005", 4, "1.0001"),
        ("7", 3, "7"),
    ] {
        assert_eq!(
            round_half_up(dec(value), exponent),
            dec(expected),
            "{value}"
        );
    }
}

#[test]
fn rendering_does_not_depend_on_the_scale() {
    for value in ["10", "10.0", "10.000000", "10.0000000000000000000000000"] {
        assert_eq!(render_amount(dec(value), 2), "10.00");
        assert_eq!(render_amount(dec(value), 0), "10");
        assert_eq!(render_plain(dec(value), 0), "10");
        assert_eq!(render_plain(dec(value), 2), "10.00");
    }
    for (value, min_decimals, expected) in [
        ("0", 0, "0"),
        ("0.000", 2, "0.00"),
        ("-0.0", 2, "0.00"),
        ("1.5", 0, "1.5"),
        ("0.85", 2, "0.85"),
        ("15", 2, "15.00"),
        ("0.003500", 2, "0.0035"),
        ("-0.5", 2, "-0.50"),
        ("-12", 0, "-12"),
        ("100", 0, "100"),
        (
            "79228162514264337593543950335",
            28,
            "79228162514264337593543950335.0000000000000000000000000000",
        ),
        (
            "-7.9228162514264337593543950335",
            0,
            "-7.9228162514264337593543950335",
        ),
    ] {
        assert_eq!(render_plain(dec(value), min_decimals), expected, "{value}");
    }
    assert_eq!(render_amount(dec("1.005"), 2), "1.01");
    assert_eq!(render_amount(dec("1.5"), 0), "2");
}

#[test]
fn bounds_are_what_they_say() {
    assert_eq!(bounds::AMOUNT_BOUND, dec("100000000000000"));
    assert_eq!(bounds::FINE_BOUND, dec("1000000000000"));
    assert!(is_amount(dec("99999999999999.9999")) && is_amount(dec("-99999999999999.9999")));
    assert!(!is_amount(dec("100000000000000")) && !is_amount(dec("-100000000000000")));
}

proptest! {
    #[test]
    fn reads_what_it_renders(mantissa in -(10_i128.pow(28) - 1)..10_i128.pow(28),
        scale in 0_u32..=28, pad in 0_u32..=28) {
        let value = Decimal::from_i128_with_scale(mantissa, scale);
        let text = render_plain(value, pad);
        prop_assert_eq!(read_exact(&text).unwrap(), value);
        prop_assert_eq!(read_exact(&format!("\"{text}\"")).unwrap(), value);
        prop_assert_eq!(render_plain(value.normalize(), pad), text);
    }

    #[test]
    fn rounds_as_integers_do(mantissa in -10_i128.pow(20)..10_i128.pow(20), scale in 0_u32..=12,
        exponent in 0_u32..=4) {
        let value = Decimal::from_i128_with_scale(mantissa, scale);
        let expected = if scale <= exponent {
            mantissa * 10_i128.pow(exponent - scale)
        } else {
            let unit = 10_i128.pow(scale - exponent);
            (mantissa.abs() + unit / 2) / unit * mantissa.signum()
        };
        prop_assert_eq!(round_half_up(value, exponent), Decimal::from_i128_with_scale(expected,
            exponent));
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(),
        number in "\"?-?[0-9]{0,40}\\.?[0-9]{0,40}([eE]-?[0-9]{0,20})?\"?") {
        let _ = read_exact(&text);
        let _ = read_exact(&number);
    }
}
