//! How durations and horizons are written on the command line.

use std::num::NonZeroU64;
use std::time::Duration;

use chrono::NaiveDate;
use sheaf_archive::ObjectLock;

/// Reads `2026-01-31`.
pub(crate) fn date(text: &str) -> Result<NaiveDate, String> {
    // Its code is for clients of the API.
    sheaf_model::plain_value::date(text).map_err(|error| error.detail)
}

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

/// Reads `50MiB`, `512KiB`, `1GiB` or `4096B`, and not zero.
pub(crate) fn bytes(text: &str) -> Result<NonZeroU64, String> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("write a number and B, KiB, MiB or GiB, such as 50MiB".to_owned()),
    };
    let bytes = number
        .checked_mul(factor)
        .ok_or_else(|| "so many bytes are out of range".to_owned())?;
    NonZeroU64::new(bytes).ok_or_else(|| "must not be zero".to_owned())
}

/// Reads `governance:90d` or `compliance:3650d`.
pub(crate) fn object_lock(text: &str) -> Result<ObjectLock, String> {
    let wrong = || "write governance:90d or compliance:3650d".to_owned();
    let (mode, age) = text.split_once(':').ok_or_else(wrong)?;
    let compliance = match mode {
        "governance" => false,
        "compliance" => true,
        _ => return Err(wrong()),
    };
    let days = duration(age)?.as_secs() / (24 * 60 * 60);
    // A century, the longest that S3 takes.
    let days = u32::try_from(days)
        .ok()
        .filter(|days| (1..=36_500).contains(days));
    Ok(ObjectLock {
        compliance,
        days: days.ok_or_else(|| "from 1 day to 36500 days".to_owned())?,
    })
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
    fn sizes_have_a_binary_unit() {
        assert_eq!(bytes("50MiB").unwrap().get(), 50 * 1024 * 1024);
        assert_eq!(bytes("1B").unwrap().get(), 1);
        for wrong in ["50", "50MB", "0MiB", "MiB", "-1B", "99999999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
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
