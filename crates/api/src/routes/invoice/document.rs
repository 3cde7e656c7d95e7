//! `/v1/invoices/{id}.pdf` and `.xml`: the invoice as a document. The routes themselves are
//! `/v1/invoices/{id}`'s, since a path's parameter is a whole segment.

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sheaf_documents::{Corrected, Profile, pdf, ubl};
use sheaf_model::{Invoice, Status, TenantId};
use sheaf_store::{ClusterError, StoreError, StoredProfile};
use sheaf_web::answer::SHEAF_TIER;
use sheaf_web::error::{Error, Noun};
use sheaf_web::etag::matches_etag;
use sheaf_web::path::parse_id;
use utoipa::OpenApi;

use crate::error::ApiError;
use crate::problems::problems;
use crate::state::Shared;

/// What an invoice is made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Pdf,
    Xml,
}

impl Form {
    /// The id and the form that the last segment of a path names; `None` where it is no document's.
    pub(crate) fn of(name: &str) -> Option<(&str, Self)> {
        let (id, ending) = name.rsplit_once('.')?;
        match ending {
            "pdf" => Some((id, Self::Pdf)),
            "xml" => Some((id, Self::Xml)),
            _ => None,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Xml => "application/xml",
        }
    }

    fn make(
        self,
        invoice: &Invoice,
        profile: &Profile,
        corrected: Option<&Corrected>,
    ) -> Result<Vec<u8>, ApiError> {
        Ok(match self {
            Self::Pdf => pdf(invoice, profile, corrected)?,
            Self::Xml => ubl(invoice, profile, corrected)?.into_bytes(),
        })
    }
}

/// The document of one invoice, from whichever tier holds it, with the seller as the profile said
/// when it was issued.
pub(crate) async fn answer(
    app: &Shared,
    tenant: TenantId,
    id: &str,
    form: Form,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let id = parse_id(id, Noun::Invoice)?;
    let found = app.reader.get(tenant, id).await?;
    let (invoice, tier) = found.ok_or(Error::NotFound(Noun::Invoice))?;
    let (profile, version) = seller(app, &invoice).await?;
    // Both make the document what it is.
    let etag = format!("\"{}-{version}\"", invoice.version);
    let mut response = if matches_etag(headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let corrected = corrected(app, tenant, &invoice).await?;
        let make = move || form.make(&invoice, &profile, corrected.as_ref());
        let made = app.desk.run(tenant, make).await?;
        let mut response = made.into_response();
        let ending = if form == Form::Pdf { "pdf" } else { "xml" };
        let name = format!("inline; filename=\"{id}.{ending}\"");
        let answered = response.headers_mut();
        answered.insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
        answered.extend(
            HeaderValue::try_from(name)
                .ok()
                .map(|v| (CONTENT_DISPOSITION, v)),
        );
        response
    };
    let answered = response.headers_mut();
    answered.insert(SHEAF_TIER, HeaderValue::from_static(tier.as_str()));
    answered.extend(HeaderValue::try_from(etag).ok().map(|v| (ETAG, v)));
    Ok(response)
}

/// The seller as the document shows it, and the version of that: the profile that it was issued
/// with, of a draft today's. Nobody, and 0, where there is no profile yet.
pub(crate) async fn seller(app: &Shared, invoice: &Invoice) -> Result<(Profile, i64), ApiError> {
    let tenant = invoice.tenant_id;
    let stored = match invoice.status {
        Status::Draft => app.store.profile(tenant).await?,
        _ => {
            app.store
                .profile_of(tenant, invoice.profile_version)
                .await?
        }
    };
    let version = stored.as_ref().map_or(0, |stored| stored.version);
    let profile = stored.map(read).transpose()?.unwrap_or_default();
    Ok((profile, version))
}

/// The profile that we stored.
pub(crate) fn read(stored: StoredProfile) -> Result<Profile, ApiError> {
    serde_json::from_value(stored.profile).map_err(|error| {
        StoreError::from(ClusterError::Corrupt(format!("profile: {error}"))).into()
    })
}

/// The invoice that a credit note corrects, if it has a number to be named by.
async fn corrected(
    app: &Shared,
    tenant: TenantId,
    note: &Invoice,
) -> Result<Option<Corrected>, ApiError> {
    let Some(id) = note.credits else {
        return Ok(None);
    };
    let found = app.reader.get(tenant, id).await?;
    Ok(found.and_then(|(invoice, _)| {
        Some(Corrected {
            number: invoice.number?,
            issue_date: invoice.issue_date,
        })
    }))
}

problems! {
    PdfRouteProblems {
        404: InvoiceNotFound, ", also for another tenant's";
        422: TooManyLines, TooMuchText;
        429: TooManyDocuments;
        501: NotBuilt, ": this build of the server has no typesetter";
    }
}

/// The invoice as A4 pages, in the language of the profile. Without a profile the seller's place
/// stays empty.
#[allow(dead_code)] // Only its attribute is used.
#[utoipa::path(
    get, path = "/v1/invoices/{id}.pdf", tag = "documents", operation_id = "getInvoicePdf",
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = uuid::Uuid, Path, description = "The invoice"),
        (
            "If-None-Match" = Option<String>,
            Header,
            description = "Answer 304 when the document is one of these",
        ),
    ),
    responses(
        (
            status = 200,
            body = Vec<u8>,
            content_type = "application/pdf",
            headers(
                ("ETag" = String, description = "Versions of the invoice and the profile, quoted"),
                ("Sheaf-Tier" = String, description = "`hot` or `cold`"),
            ),
        ),
        (status = 304, description = "The client has this document"),
        PdfRouteProblems,
    ),
)]
fn pdf_route() {}

problems! {
    XmlRouteProblems {
        404: InvoiceNotFound, ", also for another tenant's";
        422: "The first field's code: ", MissingField, NotInForce, InvalidCountry, TooManyDecimals,
            TaxRounding, MixedCategories, CurrencyNotListed;
        429: TooManyDocuments;
    }
}

/// The invoice as UBL 2.1 under EN 16931. What the standard asks for and the invoice or the profile
/// does not have is named in `errors`, fields of the profile as `profile.<field>`.
#[allow(dead_code)] // Only its attribute is used.
#[utoipa::path(
    get, path = "/v1/invoices/{id}.xml", tag = "documents", operation_id = "getInvoiceXml",
    security(("bearer" = []), ("apiKey" = [])),
    params(
        ("id" = uuid::Uuid, Path, description = "The invoice"),
        (
            "If-None-Match" = Option<String>,
            Header,
            description = "Answer 304 when the document is one of these",
        ),
    ),
    responses(
        (
            status = 200,
            body = String,
            content_type = "application/xml",
            headers(
                ("ETag" = String, description = "Versions of the invoice and the profile, quoted"),
                ("Sheaf-Tier" = String, description = "`hot` or `cold`"),
            ),
        ),
        (status = 304, description = "The client has this document"),
        XmlRouteProblems,
    ),
)]
fn xml_route() {}

#[derive(OpenApi)]
#[openapi(paths(pdf_route, xml_route))]
struct Described;

/// The documents' routes, for the API's description.
pub(crate) fn described() -> utoipa::openapi::OpenApi {
    Described::openapi()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_id_and_a_form() {
        assert_eq!(Form::of("a.pdf"), Some(("a", Form::Pdf)));
        assert_eq!(Form::of("a.b.xml"), Some(("a.b", Form::Xml)));
        assert_eq!(Form::of("a.PDF"), None);
        assert_eq!(Form::of("a"), None);
    }
}
