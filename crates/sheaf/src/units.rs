//! How durations and horizons are written on the command line.

use std::time::Duration;

/// Reads `30s`, `15m`, `24h` or `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err("write a number and s, m, h or d, such as 24h".to_owned()),
    };
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(|| "the duration is too long".to_owned())
}

/// Like [`duration`], and not zero.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("the interval must not be zero".to_owned()),
        interval => Ok(interval),
    }
}

/// Reads `12m` or `1y`, in months.
pub(crate) fn months(text: &str) -> Result<u32, String> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "m" => 1,
        "y" => 12,
        _ => return Err("write a number and m (months) or y (years), such as 12m".to_owned()),
    };
    number
        .checked_mul(factor)
        .and_then(|months| u32::try_from(months).ok())
        .ok_or_else(|| "the horizon is too far back".to_owned())
}

fn split(text: &str) -> Result<(u64, &str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number = number
        .parse()
        .map_err(|_| "write a number and a unit, such as 12m".to_owned())?;
    Ok((number, unit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("24h").unwrap(), Duration::from_secs(86_400));
        assert_eq!(duration("0s").unwrap(), Duration::ZERO);
        assert_eq!(duration("7d").unwrap(), Duration::from_secs(604_800));
        for wrong in [
            "",
            "24",
            "h",
            "-1h",
            "1.5h",
            "1 h",
            "99999999999999999999s",
            "9999999999999999999d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(interval("0m").is_err());
    }

    #[test]
    fn horizons_are_months() {
        assert_eq!(months("12m").unwrap(), 12);
        assert_eq!(months("1y").unwrap(), 12);
        assert_eq!(months("0m").unwrap(), 0);
        for wrong in ["12", "12d", "m", "5000000000m", "400000000y"] {
            assert!(months(wrong).is_err(), "{wrong}");
        }
    }
}
