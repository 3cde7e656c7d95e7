//! `/v1/reports`: what is owed and paid, by currency, from the hot tier.

pub(crate) mod schema;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use sheaf_model::Currency;
use sheaf_model::money::decimal::render_amount;
use sheaf_store::{Aging, AgingCursor, KindSum, Sum, Summary, SummaryFilter};
use sheaf_web::Error;
use sheaf_web::answer::json;
use sheaf_web::auth::{Reader, TenantAuth};
use sheaf_web::cursor::Scope;
use sheaf_web::query::{self, Params};
use uuid::Uuid;

use crate::error::ApiError;
use crate::schema::{
    AgingOut, AgingPage, AgingParams, CurrencyKindSum, CurrencySum, StatusTotalOut, SummaryOut,
    SummaryParams,
};
use crate::state::Shared;

/// A customer's id, or all ones for nobody, and the letters of the currency.
const POSITION: usize = 19;

/// Totals by status and currency; what is overdue; what was issued and paid in the last 30 days.
/// Read from the hot tier, at most some seconds ago (`as_of`).
#[utoipa::path(
    get, path = "/v1/reports/summary", tag = "reports", operation_id = "getSummary",
    security(("bearer" = []), ("apiKey" = [])),
    params(SummaryParams),
    responses((status = 200, body = SummaryOut)),
)]
pub(crate) async fn summary(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::of(&uri)?;
    let filter = SummaryFilter {
        today: app.clock.now().date_naive(),
        from: params.date("from")?,
        to: params.date("to")?,
    };
    params.finish()?;
    let summary = app.store.summary(auth.tenant_id, filter).await?;
    Ok(json(StatusCode::OK, &summary_out(&summary, filter)))
}

fn summary_out(summary: &Summary, filter: SummaryFilter) -> SummaryOut {
    let totals = summary.totals.iter().map(|t| StatusTotalOut {
        currency: t.currency.code(),
        kind: t.kind.as_str(),
        status: t.status.as_str(),
        count: t.count,
        total: render_amount(t.total, t.currency.exponent()),
        amount_paid: render_amount(t.paid, t.currency.exponent()),
        amount_due: render_amount(t.due, t.currency.exponent()),
    });
    SummaryOut {
        as_of: summary.read_at,
        today: filter.today,
        tier: "hot",
        from: filter.from,
        to: filter.to,
        totals: totals.collect(),
        overdue: summary.overdue.iter().map(currency_sum).collect(),
        issued_last_30_days: summary.issued.iter().map(kind_sum).collect(),
        paid_last_30_days: summary.paid.iter().map(kind_sum).collect(),
    }
}

fn currency_sum((currency, sum): &(Currency, Sum)) -> CurrencySum {
    CurrencySum {
        currency: currency.code(),
        count: sum.count,
        amount: render_amount(sum.amount, currency.exponent()),
    }
}

fn kind_sum((currency, kind, sum): &KindSum) -> CurrencyKindSum {
    CurrencyKindSum {
        currency: currency.code(),
        kind: kind.as_str(),
        count: sum.count,
        amount: render_amount(sum.amount, currency.exponent()),
    }
}

/// What is owed now by days past due on `as_of`, by currency; credit notes that were not applied
/// yet count against it. `group=customer` gives one entry a customer and currency, in the order of
/// the customers' ids, in pages.
#[utoipa::path(
    get, path = "/v1/reports/aging", tag = "reports", operation_id = "getAging",
    security(("bearer" = []), ("apiKey" = [])),
    params(AgingParams),
    responses((status = 200, body = AgingPage)),
)]
pub(crate) async fn aging(
    Reader(auth): Reader,
    State(app): State<Shared>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::of(&uri)?;
    let as_of = params
        .date("as_of")?
        .unwrap_or_else(|| app.clock.now().date_naive());
    let page = match params.take("group")?.as_deref() {
        None | Some("total") => {
            params.finish()?;
            let data = app.store.aging(auth.tenant_id, as_of).await?;
            AgingPage {
                as_of,
                data: data.iter().map(aging_out).collect(),
                has_more: false,
                next_cursor: None,
            }
        }
        Some("customer") => by_customer(&app, &auth, params, as_of).await?,
        Some(_) => return Err(query::invalid("group", "must be customer or total").into()),
    };
    Ok(json(StatusCode::OK, &page))
}

async fn by_customer(
    app: &Shared,
    auth: &TenantAuth,
    mut params: Params,
    as_of: chrono::NaiveDate,
) -> Result<AgingPage, ApiError> {
    let limit = params.limit()?;
    let cursor = params.take("cursor")?;
    params.finish()?;
    let scope = Scope::new("aging")
        .with(&auth.tenant_id.to_string())
        .with(&as_of.to_string());
    let after = cursor
        .map(|cursor| scope.decode(&cursor).and_then(position_in))
        .transpose()?;
    let page = app
        .store
        .aging_by_customer(auth.tenant_id, as_of, after.as_ref(), limit)
        .await?;
    let last = page.items.last().filter(|_| page.has_more);
    Ok(AgingPage {
        as_of,
        data: page.items.iter().map(aging_out).collect(),
        has_more: page.has_more,
        next_cursor: last.map(|last| scope.encode(&position_of(last.customer_id, last.currency))),
    })
}

fn aging_out(aging: &Aging) -> AgingOut {
    let amount = |value| render_amount(value, aging.currency.exponent());
    let [current, d30, d60, d90, older] = aging.buckets.map(amount);
    AgingOut {
        customer_id: aging.customer_id,
        currency: aging.currency.code(),
        invoices: aging.invoices,
        current,
        days_1_30: d30,
        days_31_60: d60,
        days_61_90: d90,
        days_over_90: older,
        unapplied_credit: amount(aging.credit),
        total: amount(aging.total()),
    }
}

fn position_of(customer: Option<Uuid>, currency: Currency) -> [u8; POSITION] {
    let mut bytes = [0; POSITION];
    bytes[..16].copy_from_slice(customer.unwrap_or(Uuid::max()).as_bytes());
    for (to, from) in bytes[16..].iter_mut().zip(currency.code().bytes()) {
        *to = from;
    }
    bytes
}

fn position_in(bytes: [u8; POSITION]) -> Result<AgingCursor, Error> {
    let (customer, currency) = bytes.split_at(16);
    let customer = Uuid::from_slice(customer).map_err(|_| Error::InvalidCursor)?;
    let currency = std::str::from_utf8(currency)
        .ok()
        .and_then(|code| Currency::parse(code).ok());
    Ok(AgingCursor {
        customer_id: (!customer.is_max()).then_some(customer),
        currency: currency.ok_or(Error::InvalidCursor)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_position_survives_its_cursor() {
        let currency = Currency::parse("JPY").unwrap();
        for customer in [Some(Uuid::from_u128(7)), None] {
            let expected = AgingCursor {
                customer_id: customer,
                currency,
            };
            assert_eq!(
                position_in(position_of(customer, currency)).unwrap(),
                expected
            );
        }
        assert!(position_in([b'x'; POSITION]).is_err());
    }
}
