#![allow(clippy::unwrap_used)]
use chrono::TimeZone;
use proptest::prelude::*;

use super::*;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap()
}

#[test]
fn periods_read_and_print() {
    let period: Period = "2009-12".parse().unwrap();
    assert_eq!(
        period,
        Period {
            year: 2009,
            month: 12
        }
    );
    assert_eq!(period.to_string(), "2009-12");
    assert_eq!(period.first_day(), day("2009-12-01"));
    assert_eq!(
        period.next(),
        Period {
            year: 2010,
            month: 1
        }
    );
    for text in [
        "", "2009", "2009-13", "2009-0", "1969-12", "2200-01", "2009-1", "+009-01", "2009-012",
        "2009/01",
    ] {
        assert_eq!(text.parse::<Period>(), Err(NotAPeriod), "{text}");
    }
}

#[test]
fn month_zero_is_the_whole_year() {
    let year: Period = "2009-00".parse().unwrap();
    assert_eq!((year, year.year()), (Period::whole_year(2009), year));
    assert_eq!(year.to_string(), "2009-00");
    assert_eq!(year.next(), Period::whole_year(2010));
    assert!(year < "2009-01".parse().unwrap());
    let (lower, upper) = year.id_bounds();
    for (date, inside) in [
        ("2008-12-31", false),
        ("2009-01-01", true),
        ("2009-12-31", true),
        ("2010-01-01", false),
    ] {
        let id = id_for_date(day(date));
        assert_eq!(lower <= id && id < upper, inside, "{date}");
        assert_eq!(year.covers(id), inside, "{date}");
        assert!(Period::of(id).covers(id) && !Period::of(id).next().covers(id));
    }
}

#[test]
fn bounds_hold_the_month_and_nothing_else() {
    let (lower, upper) = Period {
        year: 2026,
        month: 2,
    }
    .id_bounds();
    for (date, inside) in [
        ("2026-01-31", false),
        ("2026-02-01", true),
        ("2026-02-28", true),
        ("2026-03-01", false),
    ] {
        let id = id_for_date(day(date));
        assert_eq!(lower <= id && id < upper, inside, "{date}");
    }
    let (first, _) = Period {
        year: 1970,
        month: 1,
    }
    .id_bounds();
    assert_eq!(first, Uuid::nil());
    assert!(
        id_for_date(day("2199-12-31"))
            < (Period {
                year: 2199,
                month: 12
            })
            .id_bounds()
            .1
    );
}

#[test]
fn new_ids_carry_their_time_and_ascend() {
    let now = noon() + TimeDelta::milliseconds(123);
    let ids: Vec<_> = (0..10_000).map(|_| new_id(now)).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(
        ids.iter()
            .all(|id| timestamp_of(*id) == now && check_client_id(*id, now).is_ok())
    );
    // A clock that steps back is believed.
    let earlier = now - TimeDelta::days(400);
    assert_eq!(timestamp_of(new_id(earlier)), earlier);
    assert_ne!(new_id(now), new_id(earlier));
}

#[test]
fn client_ids_are_checked() {
    let code = |id: Uuid| check_client_id(id, noon()).map_err(|error| error.code.as_str());
    assert_eq!(code(Uuid::new_v4()), Err("id_not_v7"));
    assert_eq!(code(Uuid::nil()), Err("id_not_v7"));
    assert_eq!(code(Uuid::max()), Err("id_not_v7"));
    // Version 7, but a variant of Microsoft.
    assert_eq!(
        code(Uuid::from_u128(new_id(noon()).as_u128() | 0b11 << 62)),
        Err("id_not_v7")
    );
    assert_eq!(code(new_id(noon() + TimeDelta::seconds(300))), Ok(()));
    assert_eq!(
        code(new_id(noon() + TimeDelta::milliseconds(300_001))),
        Err("id_in_future")
    );
    let late = id_for_date(day("2200-01-01"));
    assert_eq!(
        check_client_id(late, timestamp_of(late)).unwrap_err().code,
        "id_in_future"
    );
    assert_eq!(code(id_for_date(day("1970-01-01"))), Ok(()));
}

#[test]
fn a_tenant_is_its_uuid_in_json() {
    let tenant: TenantId = "0192f0c1-2345-7abc-8def-0123456789ab".parse().unwrap();
    let json = serde_json::to_string(&tenant).unwrap();
    assert_eq!(json, "\"0192f0c1-2345-7abc-8def-0123456789ab\"");
    assert_eq!(serde_json::from_str::<TenantId>(&json).unwrap(), tenant);
    assert!("not-a-uuid".parse::<TenantId>().is_err());
}

proptest! {
    #[test]
    fn an_imported_id_carries_its_date(days in 0_i64..84_006) {
        let date = day("1970-01-01") + TimeDelta::days(days);
        prop_assume!(date <= bounds::max_date());
        let id = id_for_date(date);
        prop_assert_eq!(timestamp_of(id).date_naive(), date);
        prop_assert_eq!(Period::of(id), Period::of_date(date));
        prop_assert_eq!(i32::from(year_of(id)), date.year());
        prop_assert_eq!(id.get_version(), Some(Version::SortRand));
        prop_assert_eq!(id.get_variant(), Variant::RFC4122);
        prop_assert!(id < id_for_date(date + TimeDelta::days(1)));
    }

    #[test]
    fn any_uuid_has_a_period(bits in any::<u128>()) {
        let id = Uuid::from_u128(bits);
        prop_assert_eq!(Period::of(id).year, year_of(id));
        let _ = check_client_id(id, noon());
    }
}

#[test]
fn precise_ids_are_in_the_order_of_microseconds() {
    let start = Utc.with_ymd_and_hms(2026, 11, 20, 7, 8, 9).unwrap();
    let ids: Vec<Uuid> = (0..5_000)
        .map(|micros| precise_id(start + TimeDelta::microseconds(micros)))
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    assert!(ids.iter().all(|id| check_client_id(*id, start).is_ok()));
    let last = ids[4_999];
    assert!(after(last) > last && after(last) < precise_id(start + TimeDelta::microseconds(5_001)));
}
