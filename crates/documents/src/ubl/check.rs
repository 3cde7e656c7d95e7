//! What EN 16931 asks for. The rule that asks is named beside each question.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use sheaf_model::money::decimal;
use sheaf_model::{Code, FieldError, Invalid, Invoice, Status};

use super::MAX_DECIMALS;
use crate::amounts::RateSum;
use crate::countries::{is_country, is_vat_id};
use crate::profile::{Profile, ZeroRate};
use crate::text;

/// Currencies of ours that the list of the rules (release 1.3.16) has not: withdrawn ones, one that
/// was never added, and one that is there under an older code.
const UNLISTED_CURRENCIES: [&str; 4] = ["ANG", "BGN", "STN", "XAD"];

/// The mandatory parts, all there, and what the rules make of the buyer's tax number.
pub(crate) struct Facts {
    pub(super) number: String,
    pub(super) issue_date: NaiveDate,
    pub(super) seller_name: String,
    pub(super) seller_country: String,
    pub(super) seller_vat_id: Option<String>,
    pub(super) buyer_name: String,
    pub(super) buyer_country: String,
    pub(super) buyer_address: Vec<String>,
    pub(super) buyer_number: Option<String>,
    pub(super) buyer_email: Option<String>,
    /// BT-48: a tax number with a country in front.
    pub(super) buyer_vat_id: Option<String>,
    /// BT-47: any other tax number.
    pub(super) buyer_registration: Option<String>,
}

/// Collects the facts, or names all that are missing.
pub(crate) fn check(
    invoice: &Invoice,
    profile: &Profile,
    rates: &[RateSum],
) -> Result<Facts, Invalid> {
    let profile = &profile.for_xml();
    let mut missing = Missing(Vec::new());
    let zero = rates
        .iter()
        .any(|sum| sum.rate.is_zero())
        .then_some(profile.zero_rate_category);
    missing.standing(invoice);
    let facts = missing.facts(invoice, profile, zero);
    missing.seller_ids(profile, zero, facts.as_ref());
    missing.currency(invoice);
    missing.lines(invoice);
    missing.decimals(invoice);
    missing.taxes(rates, profile, zero);
    match (Invalid::from_errors(missing.0), facts) {
        (None, Some(facts)) => Ok(facts),
        (Some(invalid), _) => Err(invalid),
        // A fact that is not there was noted; a mistake of ours otherwise, still no panic.
        (None, None) => {
            Err(FieldError::new("", Code::Invalid, "the invoice is not complete").into())
        }
    }
}

struct Missing(Vec<FieldError>);

impl Missing {
    fn note(&mut self, field: impl Into<String>, code: Code, detail: impl Into<String>) {
        self.0.push(FieldError::new(field, code, detail));
    }

    fn required<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.note(field, Code::MissingField, "an e-invoice needs it");
        }
        value
    }

    fn text(&mut self, field: &str, value: Option<&str>) -> Option<String> {
        self.required(field, value.and_then(text::xml))
    }

    /// Only what the customer was given, and still stands, is an e-invoice.
    fn standing(&mut self, invoice: &Invoice) {
        let detail = match invoice.status {
            Status::Draft => "a draft is no e-invoice",
            Status::Cancelled => "a cancelled invoice is no e-invoice",
            Status::Issued | Status::PartiallyPaid | Status::Paid => return,
        };
        self.note("status", Code::NotInForce, detail);
    }

    /// BR-02, BR-03, BR-06 to BR-11.
    fn facts(
        &mut self,
        invoice: &Invoice,
        profile: &Profile,
        zero: Option<ZeroRate>,
    ) -> Option<Facts> {
        let number = self.text("number", invoice.number.as_deref());
        let issue_date = self.required("issue_date", invoice.issue_date);
        let seller_name = self.text("profile.name", Some(&profile.name));
        let seller_country = self.text("profile.country", profile.country.as_deref());
        let customer = self.required("customer", invoice.customer.as_ref());
        let buyer_name = customer.and_then(|c| self.text("customer.name", Some(&c.name)));
        let buyer_country = customer.and_then(|c| self.country(c.country.as_deref()));
        let customer = customer?;
        let tax_id = customer.tax_id.as_deref().and_then(text::xml);
        // BR-O-02: what is not subject to VAT names no VAT number.
        let not_subject = zero == Some(ZeroRate::O);
        let vat_id = |id: &String| is_vat_id(id) && !not_subject;
        Some(Facts {
            number: number?,
            issue_date: issue_date?,
            seller_name: seller_name?,
            seller_country: seller_country?,
            seller_vat_id: profile.vat_id.clone().filter(|_| !not_subject),
            buyer_name: buyer_name?,
            buyer_country: buyer_country?,
            buyer_address: customer
                .address
                .iter()
                .flat_map(|address| address.lines())
                .filter_map(text::xml)
                .collect(),
            buyer_number: customer.external_id.as_deref().and_then(text::xml),
            buyer_email: customer.email.as_deref().and_then(text::xml),
            buyer_vat_id: tax_id.clone().filter(vat_id),
            buyer_registration: tax_id.filter(|id| !is_vat_id(id)),
        })
    }

    /// The customer's country is free text: only a code can be used.
    fn country(&mut self, country: Option<&str>) -> Option<String> {
        let text = self.text("customer.country", country)?;
        let code = text.to_ascii_uppercase();
        if is_country(&code) {
            return Some(code);
        }
        let detail = "an e-invoice needs it as an ISO 3166-1 alpha-2 code, such as DE";
        self.note("customer.country", Code::InvalidCountry, detail);
        None
    }

    /// BR-CO-26: a number by which the seller is known. BR-S-02, BR-Z-02, BR-E-02, BR-AE-02,
    /// BR-G-02: a tax number, where tax could be charged; and the buyer's, where the buyer owes it.
    fn seller_ids(&mut self, profile: &Profile, zero: Option<ZeroRate>, facts: Option<&Facts>) {
        match zero {
            Some(ZeroRate::O) => {
                self.required(
                    "profile.registration_number",
                    profile.registration_number.as_ref(),
                );
                return;
            }
            Some(ZeroRate::G) => {
                self.required("profile.vat_id", profile.vat_id.as_ref());
                return;
            }
            Some(ZeroRate::AE) => {
                let buyer = facts.is_none_or(|facts| {
                    facts.buyer_vat_id.is_some() || facts.buyer_registration.is_some()
                });
                self.required("customer.tax_id", buyer.then_some(()));
            }
            Some(ZeroRate::Z | ZeroRate::E) | None => {}
        }
        let known = profile.vat_id.is_some()
            || (profile.tax_id.is_some() && profile.registration_number.is_some());
        if !known {
            let detail = "an e-invoice needs it, or a tax_id and a registration_number";
            self.note("profile.vat_id", Code::MissingField, detail);
        }
    }

    /// BR-CL-04: a code of the rules' own list.
    fn currency(&mut self, invoice: &Invoice) {
        let code = invoice.currency.code();
        if UNLISTED_CURRENCIES.contains(&code) {
            let detail = format!("the e-invoice rules do not list {code} among the currencies");
            self.note("currency", Code::CurrencyNotListed, detail);
        }
    }

    /// BR-16, BR-25.
    fn lines(&mut self, invoice: &Invoice) {
        self.required("lines", invoice.lines.first());
        for (index, line) in invoice.lines.iter().enumerate() {
            if text::xml(&line.description).is_none() {
                let field = format!("lines[{index}].description");
                self.note(field, Code::MissingField, "an e-invoice needs it");
            }
        }
    }

    /// BR-DEC-*: two decimals, also in currencies that have more.
    fn decimals(&mut self, invoice: &Invoice) {
        if invoice.currency.exponent() <= MAX_DECIMALS {
            return;
        }
        let mut at_fault = |field: String, value: Decimal| {
            if value.normalize().scale() > MAX_DECIMALS {
                self.note(
                    field,
                    Code::TooManyDecimals,
                    "an e-invoice has amounts of two decimals at most",
                );
            }
        };
        for (field, value) in [
            ("subtotal", invoice.subtotal),
            ("tax_total", invoice.tax_total),
            ("total", invoice.total),
            ("amount_paid", invoice.amount_paid),
        ] {
            at_fault(field.to_owned(), value);
        }
        for (index, line) in invoice.lines.iter().enumerate() {
            at_fault(format!("lines[{index}].net"), line.net);
            at_fault(format!("lines[{index}].tax"), line.tax);
            at_fault(format!("lines[{index}].discount"), line.discount);
            at_fault(
                format!("lines[{index}].document_discount"),
                line.document_discount,
            );
        }
    }

    /// BR-CO-17 with its tolerance; BR-E-10; BR-O-11 to BR-O-14.
    fn taxes(&mut self, rates: &[RateSum], profile: &Profile, zero: Option<ZeroRate>) {
        for sum in rates {
            let exact = decimal::round_half_up(sum.net * sum.rate, MAX_DECIMALS);
            let percent = decimal::round_half_up(sum.rate * Decimal::ONE_HUNDRED, 0);
            // The rule takes a rate below half a percent for none, and asks for no tax there.
            let near = if percent.is_zero() {
                decimal::round_half_up(sum.tax, 0).is_zero()
            } else {
                (sum.tax - exact).abs() < Decimal::ONE
            };
            if !near {
                let expected = match percent.is_zero() {
                    true => "0 (its rules take a rate below half a percent for none)".to_owned(),
                    false => exact.to_string(),
                };
                let detail = format!(
                    "the taxes of the lines at rate {} add up to {}, too far from {expected} for \
                    an e-invoice",
                    sum.rate, sum.tax
                );
                self.note("tax_total", Code::TaxRounding, detail);
            }
        }
        if zero == Some(ZeroRate::E) {
            let reason = profile.exemption_reason.as_ref();
            self.required("profile.exemption_reason", reason);
        }
        if zero == Some(ZeroRate::O) && rates.len() > 1 {
            let detail =
                "what is not subject to VAT (O) cannot be on one e-invoice with other rates";
            self.note("profile.zero_rate_category", Code::MixedCategories, detail);
        }
    }
}
