//! Lines into invoices, on blocking threads.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use sheaf_model::invoice::input::{Context, ParseError};
use sheaf_model::{Code, FieldError, Invoice, InvoiceInput, TaxRounding, TenantId, id};
use sheaf_store::{IdFrom, NewInvoice, Origin};

use super::ids::LineIds;
use super::lines::Numbered;
use super::options::{Caller, Options, Owner};
use super::summary::LineError;
use super::tenants::{Known, Resolved, Tenants, Unresolved};
use crate::error::ApiError;

/// Mistakes spelled out for one line.
const MAX_MISTAKES: usize = 5;
/// Characters of a detail.
const MAX_DETAIL: usize = 500;

/// A line that can be stored.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) line: u64,
    pub(super) bytes: usize,
    pub(super) new: NewInvoice,
}

/// A line whose tenant has to be looked up first.
struct Waiting {
    line: u64,
    text: Bytes,
    tenant: Unresolved,
    input: InvoiceInput,
}

/// What became of a batch.
#[derive(Default)]
pub(super) struct Parsed {
    /// In line order.
    pub(super) ready: Vec<Ready>,
    pub(super) errors: Vec<LineError>,
    waiting: Vec<Waiting>,
}

/// Parses and validates batches of one upload.
pub(super) struct Parser {
    pub(super) tenants: Tenants,
    shared: Arc<Common>,
}

/// What all lines of an upload have in common.
struct Common {
    now: DateTime<Utc>,
    origin: Origin,
    line_limit: usize,
    /// Exported documents are taken whoever's they were.
    restore: bool,
    /// Of lines that do not say.
    tax_rounding: Option<TaxRounding>,
    /// Of an upload with an idempotency key.
    ids: Option<LineIds>,
}

impl Parser {
    pub(super) fn new(
        tenants: Tenants,
        now: DateTime<Utc>,
        caller: &Caller,
        line_limit: usize,
        options: Options,
        ids: Option<LineIds>,
    ) -> Self {
        let common = Common {
            now: now.trunc_subsecs(6),
            origin: caller.origin.clone(),
            line_limit,
            restore: options.restore && caller.owner != Owner::Platform,
            tax_rounding: options.tax_rounding,
            ids,
        };
        Self {
            tenants,
            shared: Arc::new(common),
        }
    }

    /// Parses a batch; looks up the tenants that it names for the first time.
    pub(super) async fn parse(&mut self, lines: Vec<Numbered>) -> Result<Parsed, ApiError> {
        let (common, known) = (Arc::clone(&self.shared), self.tenants.known());
        let mut parsed = tokio::task::spawn_blocking(move || common.parse(lines, &known)).await?;
        if parsed.waiting.is_empty() {
            return Ok(parsed);
        }
        self.tenants
            .load(parsed.waiting.iter().map(|line| line.tenant.clone()))
            .await?;
        let (common, known) = (Arc::clone(&self.shared), self.tenants.known());
        let finish = move || {
            for line in std::mem::take(&mut parsed.waiting) {
                common.settle(line, &known, &mut parsed);
            }
            parsed.ready.sort_unstable_by_key(|ready| ready.line);
            parsed
        };
        Ok(tokio::task::spawn_blocking(finish).await?)
    }
}

impl Common {
    fn parse(&self, lines: Vec<Numbered>, known: &Known) -> Parsed {
        let mut parsed = Parsed {
            ready: Vec::with_capacity(lines.len()),
            ..Parsed::default()
        };
        for Numbered { number, text } in lines {
            let Some(text) = text else {
                let detail = format!("the line is longer than {} MiB", self.line_limit >> 20);
                parsed.errors.push(LineError {
                    line: number,
                    code: Code::LineTooLong,
                    detail,
                });
                continue;
            };
            match InvoiceInput::parse(&text) {
                Ok(input) => self.place(number, text, input, known, &mut parsed),
                Err(ParseError::Syntax(what)) => {
                    let detail = format!("line {number} is not a JSON document of its own: {what}");
                    parsed.errors.push(LineError {
                        line: number,
                        code: Code::InvalidJson,
                        detail: bounded(detail),
                    });
                }
                Err(ParseError::Invalid(invalid)) => {
                    parsed.errors.push(line_error(number, invalid.errors()))
                }
            }
        }
        parsed
    }

    /// Finds a line's tenant, then validates it.
    fn place(
        &self,
        line: u64,
        text: Bytes,
        input: InvoiceInput,
        known: &Known,
        parsed: &mut Parsed,
    ) {
        let resolved = match input.tenant_ref() {
            Ok(_) if self.restore && input.is_stored() => known.resolve(None),
            Ok(named) => known.resolve(named),
            Err(error) => return parsed.errors.push(line_error(line, &[error])),
        };
        match resolved {
            Resolved::Tenant(tenant) => self.validate(line, &text, tenant, input, parsed),
            Resolved::Rejected(code, detail) => {
                parsed.errors.push(LineError {
                    line,
                    code,
                    detail: detail.to_owned(),
                });
            }
            Resolved::Unknown(tenant) => parsed.waiting.push(Waiting {
                line,
                text,
                tenant,
                input,
            }),
        }
    }

    /// The same for a line that waited for its tenant to be looked up.
    fn settle(&self, waiting: Waiting, known: &Known, parsed: &mut Parsed) {
        let Waiting {
            line, text, input, ..
        } = waiting;
        let resolved = input.tenant_ref().map(|named| known.resolve(named));
        match resolved {
            Ok(Resolved::Tenant(tenant)) => self.validate(line, &text, tenant, input, parsed),
            Ok(Resolved::Rejected(code, detail)) => {
                parsed.errors.push(LineError {
                    line,
                    code,
                    detail: detail.to_owned(),
                });
            }
            Ok(Resolved::Unknown(_)) => {
                let detail = "there is no such tenant".to_owned();
                parsed.errors.push(LineError {
                    line,
                    code: Code::UnknownTenant,
                    detail,
                });
            }
            Err(error) => parsed.errors.push(line_error(line, &[error])),
        }
    }

    fn validate(
        &self,
        line: u64,
        text: &[u8],
        tenant_id: TenantId,
        mut input: InvoiceInput,
        parsed: &mut Parsed,
    ) {
        if let Some(rounding) = self.tax_rounding {
            input.round_by(rounding);
        }
        let context = Context {
            tenant_id,
            now: self.now,
        };
        let (bytes, named) = (text.len(), input.names_its_id());
        let invoice = match input.is_stored() {
            true => input.into_stored(text, &context),
            false => input.into_invoice(&context),
        };
        match invoice {
            Ok(mut invoice) => {
                let id_from = self.choose_id(line, named, &mut invoice);
                let new = NewInvoice {
                    at: self.now,
                    invoice,
                    id_from,
                    origin: self.origin.clone(),
                    idem: None,
                };
                parsed.ready.push(Ready { line, bytes, new });
            }
            Err(invalid) => parsed.errors.push(line_error(line, invalid.errors())),
        }
    }

    /// With a key, the id of a line that names none says where the line was stored, should it be
    /// sent again.
    fn choose_id(&self, line: u64, named: bool, invoice: &mut Invoice) -> IdFrom {
        match &self.ids {
            _ if named => IdFrom::Client,
            None => IdFrom::Server,
            Some(ids) if invoice.external_id.is_none() => {
                invoice.id = ids.of(line, invoice.issue_date);
                IdFrom::UploadLine
            }
            Some(ids) => {
                // The external id finds it, in the same year as before.
                invoice.id = id::new_id(ids.time(invoice.issue_date));
                IdFrom::Server
            }
        }
    }
}

/// A line takes its code from its first mistake.
fn line_error(line: u64, errors: &[FieldError]) -> LineError {
    let code = errors.first().map_or(Code::Invalid, |error| error.code);
    let mut detail = String::new();
    for (index, error) in errors.iter().take(MAX_MISTAKES).enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        let colon = if error.field.is_empty() { "" } else { ": " };
        detail.extend([
            separator,
            error.field.as_str(),
            colon,
            error.detail.as_str(),
        ]);
    }
    if errors.len() > MAX_MISTAKES {
        detail.push_str(&format!("; and {} more", errors.len() - MAX_MISTAKES));
    }
    LineError {
        line,
        code,
        detail: bounded(detail),
    }
}

/// Details can quote what was sent: 1,000 of them must stay small.
fn bounded(mut detail: String) -> String {
    if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL) {
        detail.truncate(end);
    }
    detail
}
