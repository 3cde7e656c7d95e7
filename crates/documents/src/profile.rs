//! The seller as documents show it, and its validation.

use serde::{Deserialize, Serialize};
use sheaf_model::invoice::input::ParseError;
use sheaf_model::json::strict;
use sheaf_model::visible_text::{is_blank, is_noncharacter};
use sheaf_model::{Code, FieldError, Invalid, bounds};

use crate::countries::{is_country, is_vat_id};
use crate::{Language, text};

/// Lines of the seller's street address.
pub const MAX_ADDRESS_LINES: usize = 3;
/// Characters of one line of the address, of a city.
pub const MAX_LINE: usize = 100;
/// Characters of a postcode.
pub const MAX_POSTCODE: usize = 20;
/// Characters of a phone number.
pub const MAX_PHONE: usize = 50;
/// Characters of the payment terms.
pub const MAX_TERMS: usize = 1_000;
/// Characters of the note at the foot of every page, which has room for no more.
pub const MAX_FOOTER: usize = 300;
/// Characters of the reason why no tax is charged.
pub const MAX_REASON: usize = 300;

/// What a tax rate of zero means (EN 16931, UNCL 5305).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ZeroRate {
    /// Zero rated goods.
    #[default]
    Z,
    /// Exempt from tax; the reason must be given.
    E,
    /// Reverse charge: the buyer owes the tax.
    AE,
    /// Export outside the EU.
    G,
    /// Not subject to VAT.
    O,
}

impl ZeroRate {
    /// The code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Z => "Z",
            Self::E => "E",
            Self::AE => "AE",
            Self::G => "G",
            Self::O => "O",
        }
    }

    fn parse(code: &str) -> Option<Self> {
        [Self::Z, Self::E, Self::AE, Self::G, Self::O]
            .into_iter()
            .find(|known| known.code() == code)
    }
}

/// The seller. The default has nothing: pages then leave the places open, and UBL names what is
/// missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// Name of the company; empty when no profile was ever set.
    pub name: String,
    /// Street and what else stands above the city.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub address_lines: Vec<String>,
    /// City.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// Postcode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postcode: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// VAT number with its country in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vat_id: Option<String>,
    /// Any other tax registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_id: Option<String>,
    /// Number in the register of companies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_number: Option<String>,
    /// Email address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Phone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// IBAN without spaces, its check digits right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iban: Option<String>,
    /// BIC, 8 or 11 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bic: Option<String>,
    /// When and how to pay, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_terms: Option<String>,
    /// At the foot of every page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    /// Of the pages.
    pub language: Language,
    /// What a tax rate of zero means.
    pub zero_rate_category: ZeroRate,
    /// Why no tax is charged where the rate is zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemption_reason: Option<String>,
}

/// A profile as sent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileInput {
    name: Option<String>,
    address_lines: Option<Vec<String>>,
    city: Option<String>,
    postcode: Option<String>,
    country: Option<String>,
    vat_id: Option<String>,
    tax_id: Option<String>,
    registration_number: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    iban: Option<String>,
    bic: Option<String>,
    payment_terms: Option<String>,
    footer: Option<String>,
    language: Option<String>,
    zero_rate_category: Option<String>,
    exemption_reason: Option<String>,
}

impl Profile {
    /// Reads and validates one JSON document. Spaces around a text, and inside an IBAN, are
    /// dropped; a text that is empty, or shows nothing, is as good as none.
    ///
    /// # Errors
    /// [`ParseError::Syntax`] when the bytes are no JSON object; [`ParseError::Invalid`] with
    /// `unknown_field`, `duplicate_field`, `invalid_type`, or all mistakes of its values.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let input: ProfileInput = strict::from_json(bytes)?;
        Ok(input.check()?)
    }

    /// The seller as an e-invoice has it: what XML cannot hold is a space, and a text that shows
    /// nothing is not there. A profile that was stored before has been checked by the rules of its
    /// time.
    pub(crate) fn for_xml(&self) -> Self {
        let clean = |text: &Option<String>| text.as_deref().and_then(text::xml);
        let lines = |text: &Option<String>| text.as_deref().and_then(text::xml_lines);
        Self {
            name: text::xml(&self.name).unwrap_or_default(),
            address_lines: self
                .address_lines
                .iter()
                .filter_map(|line| text::xml(line))
                .collect(),
            city: clean(&self.city),
            postcode: clean(&self.postcode),
            country: clean(&self.country),
            vat_id: clean(&self.vat_id),
            tax_id: clean(&self.tax_id),
            registration_number: clean(&self.registration_number),
            email: clean(&self.email),
            phone: clean(&self.phone),
            iban: clean(&self.iban),
            bic: clean(&self.bic),
            payment_terms: lines(&self.payment_terms),
            footer: lines(&self.footer),
            language: self.language,
            zero_rate_category: self.zero_rate_category,
            exemption_reason: clean(&self.exemption_reason),
        }
    }
}

impl ProfileInput {
    fn check(self) -> Result<Profile, Invalid> {
        let mut m = Mistakes(Vec::new());
        let profile = Profile {
            name: m
                .text("name", self.name, bounds::MAX_CUSTOMER_NAME)
                .unwrap_or_else(|| {
                    m.note("name", Code::MissingField, "is required");
                    String::new()
                }),
            address_lines: m.address(self.address_lines.unwrap_or_default()),
            city: m.text("city", self.city, MAX_LINE),
            postcode: m.plain("postcode", self.postcode, MAX_POSTCODE),
            country: m.country(self.country),
            vat_id: m.vat_id(self.vat_id),
            tax_id: m.plain("tax_id", self.tax_id, bounds::MAX_TAX_ID),
            registration_number: m.plain(
                "registration_number",
                self.registration_number,
                bounds::MAX_TAX_ID,
            ),
            email: m.email(self.email),
            phone: m.plain("phone", self.phone, MAX_PHONE),
            iban: m.iban(self.iban),
            bic: m.bic(self.bic),
            payment_terms: m.text("payment_terms", self.payment_terms, MAX_TERMS),
            footer: m.text("footer", self.footer, MAX_FOOTER),
            language: m
                .choice(
                    "language",
                    self.language,
                    Language::parse,
                    "one of en, de, fr, es, nl, pl, ar, he",
                )
                .unwrap_or_default(),
            zero_rate_category: m
                .choice(
                    "zero_rate_category",
                    self.zero_rate_category,
                    ZeroRate::parse,
                    "one of Z, E, AE, G, O",
                )
                .unwrap_or_default(),
            exemption_reason: m.text("exemption_reason", self.exemption_reason, MAX_REASON),
        };
        Invalid::from_errors(m.0).map_or(Ok(profile), Err)
    }
}

/// The mistakes found so far. Each check gives the value, or notes its mistake and gives `None`.
struct Mistakes(Vec<FieldError>);

impl Mistakes {
    fn note(&mut self, field: impl Into<String>, code: Code, detail: &str) {
        // One mistake a field: a name that is too long is not missing.
        let field = field.into();
        if self.0.iter().all(|known| known.field != field) {
            self.0.push(FieldError::new(field, code, detail));
        }
    }

    fn text(&mut self, field: &str, text: Option<String>, max: usize) -> Option<String> {
        let text = text?;
        let text = text.trim();
        if text.contains('\0') {
            self.note(field, Code::StringHasNul, "must not contain U+0000");
            return None;
        }
        if text.chars().count() > max {
            self.note(
                field,
                Code::StringTooLong,
                &format!("at most {max} characters"),
            );
            return None;
        }
        (!is_blank(text)).then(|| text.to_owned())
    }

    /// A text that stands for something, as a number does: nothing in it is hidden.
    fn plain(&mut self, field: &str, text: Option<String>, max: usize) -> Option<String> {
        let text = self.text(field, text, max)?;
        let detail = "must have no control characters";
        let value = (!has_hidden(&text)).then_some(text);
        self.must(field, Code::StringHasControl, detail, value)
    }

    fn address(&mut self, lines: Vec<String>) -> Vec<String> {
        if lines.len() > MAX_ADDRESS_LINES {
            self.note(
                "address_lines",
                Code::TooManyItems,
                &format!("at most {MAX_ADDRESS_LINES} lines"),
            );
            return Vec::new();
        }
        let lines = lines.into_iter().enumerate();
        lines
            .filter_map(|(index, line)| {
                self.text(&format!("address_lines[{index}]"), Some(line), MAX_LINE)
            })
            .collect()
    }

    fn country(&mut self, text: Option<String>) -> Option<String> {
        let code = self.plain("country", text, bounds::MAX_COUNTRY)?;
        self.must(
            "country",
            Code::InvalidCountry,
            "must be an ISO 3166-1 alpha-2 code in upper case, such as DE",
            is_country(&code).then_some(code),
        )
    }

    fn vat_id(&mut self, text: Option<String>) -> Option<String> {
        let id = self.plain("vat_id", text, bounds::MAX_TAX_ID)?;
        self.must(
            "vat_id",
            Code::InvalidVatId,
            "must start with the code of its country, such as DE (EL for Greece); other numbers \
            are a tax_id",
            is_vat_id(&id).then_some(id),
        )
    }

    fn email(&mut self, text: Option<String>) -> Option<String> {
        let email = self.plain("email", text, bounds::MAX_EMAIL)?;
        // Only the form that EN 16931 profiles ask for: something, one @, something.
        let well_formed = email.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && !host.is_empty() && !host.contains('@')
        }) && !email.contains(char::is_whitespace);
        self.must(
            "email",
            Code::InvalidEmail,
            "must be an email address",
            well_formed.then_some(email),
        )
    }

    fn iban(&mut self, text: Option<String>) -> Option<String> {
        let spaced = self.plain("iban", text, 50)?;
        let iban: String = spaced.chars().filter(|c| *c != ' ').collect();
        self.must(
            "iban",
            Code::InvalidIban,
            "must be an IBAN in upper case with the right check digits",
            is_iban(&iban).then_some(iban),
        )
    }

    fn bic(&mut self, text: Option<String>) -> Option<String> {
        let bic = self.plain("bic", text, 20)?;
        let well_formed = matches!(bic.len(), 8 | 11)
            && bic.bytes().enumerate().all(|(index, byte)| {
                byte.is_ascii_uppercase() || (byte.is_ascii_digit() && !(4..6).contains(&index))
            });
        self.must(
            "bic",
            Code::InvalidBic,
            "must be a BIC of 8 or 11 characters in upper case",
            well_formed.then_some(bic),
        )
    }

    fn choice<T>(
        &mut self,
        field: &str,
        text: Option<String>,
        parse: fn(&str) -> Option<T>,
        detail: &str,
    ) -> Option<T> {
        let text = text?;
        self.must(field, Code::InvalidChoice, detail, parse(&text))
    }

    fn must<T>(&mut self, field: &str, code: Code, detail: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.note(field, code, detail);
        }
        value
    }
}

/// Whether something of the text cannot be shown: a control character, or what no text has for
/// interchange.
fn has_hidden(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || is_noncharacter(c))
}

/// ISO 13616: country, check digits, up to 30 characters; the number that they spell is 1 modulo
/// 97.
fn is_iban(iban: &str) -> bool {
    let shape = (15..=34).contains(&iban.len())
        && iban.bytes().enumerate().all(|(index, byte)| match index {
            0 | 1 => byte.is_ascii_uppercase(),
            2 | 3 => byte.is_ascii_digit(),
            _ => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        });
    if !shape {
        return false;
    }
    let (front, rest) = iban.split_at(4);
    let value = rest
        .chars()
        .chain(front.chars())
        .filter_map(|c| c.to_digit(36));
    value.fold(0, |sum, digit| {
        (sum * if digit > 9 { 100 } else { 10 } + digit) % 97
    }) == 1
}

#[cfg(test)]
mod tests;
