//! The parts of the OpenAPI document that are the same for all routes: security schemes, the
//! problem answers, the headers that every answer carries. Written once here instead of at each
//! handler.

use sheaf_web::PROBLEM_JSON;
use utoipa::openapi::path::{
    HttpMethod, Operation, Parameter, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, Ref, RefOr, Required,
    Response, Schema, ServerBuilder, tag::TagBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use crate::problems::{self, header};
use crate::schema::{FieldErrorSchema, InvoiceLineIn, ProblemSchema};
use sheaf_model::Code;

/// Problems of any route.
const ANYWHERE: &[Code] = &[
    Code::InvalidHeader,
    Code::InternalError,
    Code::StoreUnavailable,
    Code::StoreTimeout,
    Code::ArchiveUnavailable,
    Code::Busy,
    Code::NotReady,
    Code::Timeout,
];
/// Problems of routes that need a credential.
const SECURED: &[Code] = &[
    Code::UnknownParameter,
    Code::InvalidParameter,
    Code::LimitOutOfRange,
    Code::InvalidCursor,
    Code::MissingCredential,
    Code::InvalidCredential,
    Code::RevokedCredential,
    Code::ExpiredCredential,
    Code::TenantMismatch,
    Code::ForbiddenRole,
    Code::AdminRequired,
    Code::TenantCredentialRequired,
    Code::UnknownTenant,
    Code::RateLimited,
    Code::TooManyWrongCredentials,
    Code::TooManyRequests,
    Code::JwksUnavailable,
];
/// Problems of routes that read a body.
const WITH_BODY: &[Code] = &[
    Code::InvalidJson,
    Code::MissingBody,
    Code::IncompleteBody,
    Code::TruncatedGzip,
    Code::InvalidGzip,
    Code::InvalidIdempotencyKey,
    Code::UnknownParameter,
    Code::InvalidParameter,
    Code::RequestTimeout,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::UnsupportedEncoding,
];

/// Headers of draft-ietf-httpapi-ratelimit-headers-10.
const RATE_LIMIT: [(&str, &str); 2] = [
    (
        "RateLimit",
        "What the tenant has left, where a limit is set: `\"tenant\";r=<requests>;t=<seconds>`",
    ),
    (
        "RateLimit-Policy",
        "The tenant's limit, where one is set: `\"tenant\";q=<requests>;w=<seconds>`",
    ),
];
/// Problems of routes that change something.
const CHANGING: &[Code] = &[Code::ConcurrentChanges, Code::OutcomeUnknown];
/// Problems of routes that take an idempotency key.
const REPEATABLE: &[Code] = &[Code::IdempotencyInProgress];

/// Completes the document that the handlers' attributes give.
pub(crate) fn complete(api: &mut OpenApi) {
    let license = LicenseBuilder::new()
        .name(env!("CARGO_PKG_LICENSE"))
        .identifier(Some(env!("CARGO_PKG_LICENSE")))
        .build();
    // The document is served by the API itself: a path of it is one beside the document's own.
    let here = ServerBuilder::new()
        .url("/")
        .description(Some("Where this document was read"))
        .build();
    api.servers = Some(vec![here]);
    api.info = InfoBuilder::new()
        .title("Sheaf")
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(license))
        .description(Some(
            "An invoice store: bulk ingestion at COPY speed, one API over a hot and a cold tier.",
        ))
        .build();
    let tags = [
        ("invoices", "Invoices of one tenant"),
        ("events", "The audit trail"),
        ("customers", "Customers of one tenant"),
        (
            "reports",
            "What is owed and paid, by currency, from the hot tier",
        ),
        ("documents", "PDF and e-invoice, and the seller on them"),
        ("archive", "The cold tier"),
        (
            "api keys",
            "The API keys of one tenant; needs the role `admin`",
        ),
        ("tenants", "Tenants and their API keys; needs the admin key"),
        ("platform", "All tenants at once; needs the admin key"),
        ("operations", "Health"),
    ];
    let tag = |(name, description): (&str, &str)| {
        TagBuilder::new()
            .name(name)
            .description(Some(description))
            .build()
    };
    api.tags = Some(tags.into_iter().map(tag).collect());
    let components = api.components.get_or_insert_with(Components::new);
    add_schemas(components);
    add_security(components);
    for item in api.paths.paths.values_mut() {
        for (method, operation) in operations(item) {
            complete_operation(&method, operation);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let all = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Patch, &mut item.patch),
        (HttpMethod::Delete, &mut item.delete),
    ];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn add_schemas(components: &mut Components) {
    let schemas = [
        (ProblemSchema::name(), ProblemSchema::schema()),
        (FieldErrorSchema::name(), FieldErrorSchema::schema()),
    ];
    components
        .schemas
        .extend(schemas.map(|(name, schema)| (name.into_owned(), schema)));
    // A line of a platform upload is an invoice with two more members.
    let named = components.schemas.get(InvoiceLineIn::name().as_ref());
    let Some(RefOr::T(Schema::Object(named))) = named else {
        return;
    };
    let mut tenant = named.clone();
    tenant.properties.remove("invoice");
    tenant.required.clear();
    let invoice = Ref::from_schema_name("InvoiceIn");
    let line = utoipa::openapi::schema::AllOfBuilder::new()
        .item(invoice)
        .item(tenant)
        .build();
    components.schemas.insert(
        InvoiceLineIn::name().into_owned(),
        RefOr::T(Schema::AllOf(line)),
    );
    components.schemas.remove("FlattenedInvoice");
}

fn add_security(components: &mut Components) {
    let description = "A tenant's API key or a JWT, or the admin key for `/v1/tenants` and \
                       `/v1/platform`. What a role may do is in docs/roles.md.";
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(description))
        .build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let header = ApiKeyValue::with_description("X-Api-Key", description);
    components.add_security_scheme("apiKey", SecurityScheme::ApiKey(ApiKey::Header(header)));
}

fn complete_operation(method: &HttpMethod, operation: &mut Operation) {
    // Said of each operation: one that says nothing could be one that was forgotten.
    let security = operation.security.get_or_insert_default();
    let secured = !security.is_empty();
    let repeatable = *method == HttpMethod::Post;
    let with_body = repeatable || matches!(method, HttpMethod::Patch | HttpMethod::Put);
    let changing = *method != HttpMethod::Get;
    let codes = [
        (with_body, WITH_BODY),
        (repeatable, REPEATABLE),
        (changing, CHANGING),
        (secured, SECURED),
        (true, ANYWHERE),
    ];
    for (_, codes) in codes.into_iter().filter(|(applies, _)| *applies) {
        for code in codes {
            problems::add(&mut operation.responses.responses, *code);
        }
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        if status.starts_with(['4', '5']) {
            describe_problem(status, response);
        }
        if response.description.is_empty() {
            response.description = outcome(method, status).to_owned();
        }
        response.headers.insert(
            "X-Request-Id".to_owned(),
            header("The request's id, the client's own or a new one"),
        );
        if secured {
            for (name, description) in RATE_LIMIT {
                response
                    .headers
                    .insert(name.to_owned(), header(description));
            }
        }
        response.headers.insert(
            "traceparent".to_owned(),
            header("The trace, with a span of the server's own"),
        );
        if repeatable && status.starts_with('2') {
            let replayed = header("`true` when this answer was given before");
            response
                .headers
                .insert("Idempotency-Replayed".to_owned(), replayed);
        }
    }
    let of_key = of_key(operation);
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(header_parameter(
        "X-Request-Id",
        "At most 128 visible ASCII characters",
        128,
    ));
    if secured {
        let description = "Must be the credential's tenant, if sent";
        parameters.push(header_parameter("X-Tenant-Id", description, 36));
    }
    if repeatable {
        parameters.push(header_parameter("Idempotency-Key", of_key, 255));
    }
}

/// What sending the same key again does. An upload is judged when it has been read.
fn of_key(operation: &Operation) -> &'static str {
    let uploads = ["uploadInvoices", "uploadPlatformInvoices"];
    let is_upload = operation
        .operation_id
        .as_deref()
        .is_some_and(|id| uploads.contains(&id));
    if is_upload {
        "The same key and upload replay the first answer. An upload that broke off has none: sent \
         again with its key, it goes on, and lines that were stored count as duplicates. The same \
         key with another upload is 422. Kept for 7 days"
    } else {
        "The same key and request replay the first answer; the same key with another request is 422"
    }
}

/// What an answer is, where its operation says no more of it than what it holds.
fn outcome(method: &HttpMethod, status: &str) -> &'static str {
    match (method, status) {
        (HttpMethod::Get, _) => "What was asked for",
        (_, "201") => "It was made",
        (_, "202") => "It has begun",
        _ => "It was done",
    }
}

fn describe_problem(status: &str, response: &mut Response) {
    let schema = Ref::from_schema_name(ProblemSchema::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    response
        .content
        .insert(PROBLEM_JSON.to_owned(), RefOr::T(content));
    match status {
        "401" => drop(
            response
                .headers
                .insert("WWW-Authenticate".to_owned(), header("`Bearer`")),
        ),
        "429" | "503" => drop(
            response
                .headers
                .insert("Retry-After".to_owned(), header("Seconds")),
        ),
        _ => {}
    }
}

fn header_parameter(name: &str, description: &str, max_length: usize) -> RefOr<Parameter> {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(max_length));
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build();
    RefOr::T(parameter)
}
