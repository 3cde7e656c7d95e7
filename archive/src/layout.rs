//! Where objects lie: Hive style, so that every engine reads tenant, year and month from the path.

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
            "v1/invoices/tenant_id=0190163d-8694-739b-aea5-966c26f8ad90/year=2024/month=03/p2-g7.parquet"
        );
        assert_eq!(tenant_of_key(&key), Some(tenant));
        assert_eq!(tenant_of_key("v1/invoices/tenant_id=nobody/x"), None);
        assert_eq!(tenant_of_key("other/x"), None);
    }
}
