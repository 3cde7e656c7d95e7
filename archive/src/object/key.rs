//! Where objects lie: Hive style, so that every engine reads tenant, year and month from the path.
//! Under month 00 lie the objects in which months of a year are together.

use sheaf_model::{Period, TenantId};

/// Every invoice object starts with it.
pub const ROOT: &str = "v1/invoices/";

/// Prefix of all objects of a tenant: access, export and erasure work on it.
pub fn tenant_prefix(tenant: TenantId) -> String {
    format!("{ROOT}tenant_id={tenant}/")
}

/// Key of one generation of one part of a period.
pub fn object_key(tenant: TenantId, period: Period, part: i32, generation: i32) -> String {
    format!(
        "{}year={:04}/month={:02}/p{part}-g{generation}.parquet",
        tenant_prefix(tenant),
        period.year,
        period.month
    )
}

/// The tenant that a key names, if it has the layout's form.
pub fn tenant_of_key(key: &str) -> Option<TenantId> {
    let rest = key.strip_prefix(ROOT)?.strip_prefix("tenant_id=")?;
    rest.split('/').next()?.parse().ok()
}

/// What a key of the layout's form names: tenant, period, part and generation.
pub fn place_of_key(key: &str) -> Option<(TenantId, Period, i32, i32)> {
    let tenant = tenant_of_key(key)?;
    let rest = key.strip_prefix(&tenant_prefix(tenant))?;
    let (year, rest) = rest.strip_prefix("year=")?.split_once("/month=")?;
    let (month, name) = rest.split_once("/p")?;
    let (part, generation) = name.strip_suffix(".parquet")?.split_once("-g")?;
    let period: Period = format!("{year}-{month}").parse().ok()?;
    let (part, generation) = (part.parse().ok()?, generation.parse().ok()?);
    // Only the one way to write it: "p+1" and "p01" are no keys.
    (part >= 0 && generation > 0 && object_key(tenant, period, part, generation) == key)
        .then_some((tenant, period, part, generation))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hive_style_and_names_its_tenant() {
        let tenant: TenantId = "0190163d-8694-739b-aea5-966c26f8ad90".parse().unwrap();
        let key = object_key(
            tenant,
            Period {
                year: 2024,
                month: 3,
            },
            2,
            7,
        );
        assert_eq!(
            key,
            "v1/invoices/tenant_id=0190163d-8694-739b-aea5-966c26f8ad90/year=2024/month=\
            03/p2-g7.parquet"
        );
        assert_eq!(tenant_of_key(&key), Some(tenant));
        assert_eq!(tenant_of_key("v1/invoices/tenant_id=nobody/x"), None);
        assert_eq!(tenant_of_key("other/x"), None);
        let period = Period {
            year: 2024,
            month: 3,
        };
        assert_eq!(place_of_key(&key), Some((tenant, period, 2, 7)));
        for (from, to) in [
            ("p2", "p02"),
            ("g7", "g+7"),
            ("=03", "=3"),
            ("=03", "=13"),
            (".parquet", ""),
            ("tenant_id=", "tenant="),
        ] {
            assert_eq!(place_of_key(&key.replace(from, to)), None, "{from} {to}");
        }
    }
}
