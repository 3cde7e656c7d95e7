//! What a page shows, as the template reads it: every number, date and word is a finished text of
//! the tenant's language.

use rust_decimal::Decimal;
use serde::Serialize;
use sheaf_model::{Currency, Invoice, Kind, Line, Payment, PaymentKind, Status};

use crate::countries::is_vat_id;
use crate::labels::{Labels, labels};
use crate::text::{Text, printable};
use crate::{Corrected, Language, Profile, amounts};

/// Descriptions longer than this may be split between two pages; shorter ones stay together.
const SPLIT_FROM: usize = 500;

/// One document.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    lang: &'static str,
    rtl: bool,
    /// For the PDF's own title and author.
    title: String,
    author: String,
    heading: &'static str,
    status: &'static str,
    /// `paid`, `open`, `draft` or `cancelled`: the colour of the status.
    mood: &'static str,
    /// Across the page, when this is no document to be paid.
    watermark: Option<&'static str>,
    credit_note: bool,
    labels: &'static Labels,
    seller: Seller,
    buyer: Option<Buyer>,
    number: Option<Text>,
    corrects: Option<Text>,
    date: Option<String>,
    due_date: Option<String>,
    currency: &'static str,
    lines: Vec<Row>,
    has_discounts: bool,
    /// Characters in the widest row of numbers: narrow tables need smaller type.
    widest: usize,
    rates: Vec<RateRow>,
    /// Only with a discount on the whole document.
    subtotal: Option<String>,
    document_discount: Option<String>,
    document_percent: Option<String>,
    net_total: String,
    tax_total: String,
    total: String,
    paid: Option<String>,
    due: Option<String>,
    payments: Vec<PaymentRow>,
    notes: Vec<Text>,
    bank: Option<Bank>,
    footer: Option<Text>,
}

#[derive(Debug, Serialize)]
struct Seller {
    name: Option<Text>,
    address: Vec<Text>,
    vat_id: Option<Text>,
    tax_id: Option<Text>,
    registration_number: Option<Text>,
    contact: Vec<Text>,
}

#[derive(Debug, Serialize)]
struct Buyer {
    name: Text,
    details: Vec<Text>,
    tax_id: Option<Text>,
    has_vat_id: bool,
    number: Option<Text>,
}

#[derive(Debug, Serialize)]
struct Row {
    description: Text,
    sku: Option<Text>,
    splits: bool,
    quantity: String,
    unit_price: String,
    discount: Option<String>,
    discount_percent: Option<String>,
    tax_rate: String,
    net: String,
}

#[derive(Debug, Serialize)]
struct RateRow {
    rate: String,
    net: String,
    tax: String,
}

#[derive(Debug, Serialize)]
struct PaymentRow {
    date: String,
    reference: Text,
    method: Text,
    amount: String,
}

#[derive(Debug, Serialize)]
struct Bank {
    iban: String,
    bic: Option<String>,
}

impl Page {
    pub(crate) fn new(invoice: &Invoice, profile: &Profile, corrected: Option<&Corrected>) -> Self {
        let language = profile.language;
        let words = labels(language);
        let amount = |value: Decimal| language.amount(value, invoice.currency);
        let heading = match invoice.kind {
            Kind::Invoice => words.invoice,
            Kind::CreditNote => words.credit_note,
        };
        let (status, mood, watermark) = standing(invoice.status, words);
        let lines: Vec<Row> = invoice
            .lines
            .iter()
            .map(|line| row(line, invoice.currency, language))
            .collect();
        let discounted = !invoice.discount.is_zero();
        let standing_title = watermark.map_or(String::new(), |word| format!(" ({word})"));
        let number = printable(invoice.number.as_deref().unwrap_or_default());
        Self {
            lang: language.code(),
            rtl: language.is_rtl(),
            title: format!("{heading} {number}").trim().to_owned() + &standing_title,
            author: printable(&profile.name),
            heading,
            status,
            mood,
            watermark,
            credit_note: invoice.kind == Kind::CreditNote,
            labels: words,
            seller: seller(profile),
            buyer: buyer(invoice),
            number: invoice.number.as_deref().and_then(Text::filled),
            corrects: corrected.and_then(|invoice| Text::filled(&invoice.number)),
            date: invoice.issue_date.map(|date| language.date(date)),
            due_date: invoice.due_date.map(|date| language.date(date)),
            currency: invoice.currency.code(),
            has_discounts: invoice.lines.iter().any(|line| !line.discount.is_zero()),
            widest: lines.iter().map(Row::width).max().unwrap_or_default(),
            lines,
            rates: rates(invoice, language),
            subtotal: discounted.then(|| amount(invoice.subtotal + invoice.discount)),
            document_discount: discounted.then(|| amount(-invoice.discount)),
            document_percent: invoice.discount_percent.map(|p| percentage(p, language)),
            net_total: amount(invoice.subtotal),
            tax_total: amount(invoice.tax_total),
            total: amount(invoice.total),
            paid: (!invoice.amount_paid.is_zero()).then(|| amount(-invoice.amount_paid)),
            due: (invoice.status != Status::Draft).then(|| amount(invoice.amount_due)),
            payments: invoice
                .payments
                .iter()
                .map(|payment| payment_row(payment, invoice.currency, language))
                .collect(),
            notes: notes(invoice, profile),
            bank: bank(invoice, profile),
            footer: profile.footer.as_deref().and_then(Text::filled),
        }
    }
}

impl Row {
    /// Characters of the row's numbers.
    fn width(&self) -> usize {
        let texts = [&self.quantity, &self.unit_price, &self.tax_rate, &self.net];
        let discount = self.discount.iter();
        texts
            .into_iter()
            .chain(discount)
            .map(|text| text.chars().count())
            .sum()
    }
}

/// The word and the colour of a status, and what is written across the page.
fn standing(
    status: Status,
    words: &'static Labels,
) -> (&'static str, &'static str, Option<&'static str>) {
    match status {
        Status::Draft => (words.draft, "draft", Some(words.draft)),
        Status::Issued => (words.issued, "open", None),
        Status::PartiallyPaid => (words.partially_paid, "open", None),
        Status::Paid => (words.paid, "paid", None),
        Status::Cancelled => (words.cancelled, "cancelled", Some(words.cancelled)),
    }
}

fn filled(text: Option<&String>) -> Option<Text> {
    text.and_then(|text| Text::filled(text))
}

fn seller(profile: &Profile) -> Seller {
    let city = [&profile.postcode, &profile.city];
    let city: Vec<&str> = city.into_iter().flatten().map(String::as_str).collect();
    let mut address: Vec<Text> = profile
        .address_lines
        .iter()
        .filter_map(|line| Text::filled(line))
        .collect();
    address.extend(Text::filled(&city.join(" ")));
    address.extend(filled(profile.country.as_ref()));
    let contact = [&profile.email, &profile.phone];
    Seller {
        name: Text::filled(&profile.name),
        address,
        vat_id: filled(profile.vat_id.as_ref()),
        tax_id: filled(profile.tax_id.as_ref()),
        registration_number: filled(profile.registration_number.as_ref()),
        contact: contact
            .into_iter()
            .filter_map(|text| filled(text.as_ref()))
            .collect(),
    }
}

fn buyer(invoice: &Invoice) -> Option<Buyer> {
    let customer = invoice.customer.as_ref()?;
    let details = [&customer.address, &customer.country, &customer.email];
    Some(Buyer {
        name: Text::new(&customer.name),
        details: details
            .into_iter()
            .filter_map(|text| filled(text.as_ref()))
            .collect(),
        tax_id: filled(customer.tax_id.as_ref()),
        has_vat_id: customer.tax_id.as_deref().is_some_and(is_vat_id),
        number: filled(customer.external_id.as_ref()),
    })
}

fn row(line: &Line, currency: Currency, language: Language) -> Row {
    let description = Text::new(&line.description);
    let discount = !line.discount.is_zero();
    Row {
        splits: description.length() > SPLIT_FROM,
        description,
        sku: filled(line.sku.as_ref()),
        quantity: language.number(line.quantity, 0),
        unit_price: language.number(line.unit_price, currency.exponent()),
        discount: discount.then(|| language.amount(-line.discount, currency)),
        discount_percent: line.discount_percent.map(|p| percentage(p, language)),
        tax_rate: language.percent(line.tax_rate),
        net: language.amount(amounts::line_net(line), currency),
    }
}

/// A percentage of a discount: 10 is 10 %.
fn percentage(value: Decimal, language: Language) -> String {
    language.percent(value / Decimal::ONE_HUNDRED)
}

fn rates(invoice: &Invoice, language: Language) -> Vec<RateRow> {
    let sums = amounts::by_rate(invoice).into_iter();
    sums.map(|sum| RateRow {
        rate: language.percent(sum.rate),
        net: language.amount(sum.net, invoice.currency),
        tax: language.amount(sum.tax, invoice.currency),
    })
    .collect()
}

fn payment_row(payment: &Payment, currency: Currency, language: Language) -> PaymentRow {
    // What is no payment says so.
    let kind = labels(language).payment_kind(payment.kind);
    let method = payment.method.replace('_', " ");
    let method = match kind {
        None => method,
        // How a set-off was recorded is what it is.
        Some(kind) if payment.kind == PaymentKind::Credit => kind.to_owned(),
        Some(kind) => format!("{kind}\n{method}"),
    };
    PaymentRow {
        date: language.date(payment.paid_on),
        reference: Text::new(&payment.reference),
        method: Text::new(&method),
        amount: language.amount(payment.amount, currency),
    }
}

/// Whether the customer is to pay: not on a draft, nor when nothing is due.
fn is_payable(invoice: &Invoice) -> bool {
    let owing = matches!(invoice.status, Status::Issued | Status::PartiallyPaid);
    owing && invoice.kind == Kind::Invoice && invoice.amount_due > Decimal::ZERO
}

/// Why no tax is charged, and how to pay.
fn notes(invoice: &Invoice, profile: &Profile) -> Vec<Text> {
    let untaxed = invoice.lines.iter().any(|line| line.tax_rate.is_zero());
    let reason = profile.exemption_reason.as_ref().filter(|_| untaxed);
    let payable = is_payable(invoice);
    let terms = profile.payment_terms.as_ref().filter(|_| payable);
    [reason, terms].into_iter().filter_map(filled).collect()
}

/// Where to pay, as long as something is to be paid.
fn bank(invoice: &Invoice, profile: &Profile) -> Option<Bank> {
    let payable = is_payable(invoice);
    let iban = profile.iban.as_ref().filter(|_| payable)?;
    let groups: Vec<String> = iban
        .chars()
        .collect::<Vec<char>>()
        .chunks(4)
        .map(|group| group.iter().collect())
        .collect();
    Some(Bank {
        iban: groups.join("\u{a0}"),
        bic: profile.bic.clone(),
    })
}
