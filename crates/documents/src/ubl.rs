//! UBL 2.1 under EN 16931: the European e-invoice. Terms in comments (BT-31, BR-CO-15) are the
//! standard's.
//!
//! Amounts are those of the invoice, never computed anew. EN 16931 asks for a group's tax to be the
//! group's net times its rate, and so it is where the invoice's tax is rounded by document. Where
//! it is rounded line by line, the official rules allow less than one unit between the two; an
//! invoice beyond that is refused.

mod check;
mod party;
mod xml;

use rust_decimal::Decimal;
use sheaf_model::money::decimal;
use sheaf_model::{Invoice, Kind, Line};

use crate::amounts::{self, RateSum};
use crate::profile::{Profile, ZeroRate};
use crate::{Corrected, DocumentError, text};
use check::Facts;
pub(crate) use check::check;
use xml::Xml;

const CUSTOMIZATION: &str = "urn:cen.eu:en16931:2017";
/// UNTDID 1001.
const COMMERCIAL_INVOICE: &str = "380";
const CREDIT_NOTE: &str = "381";
/// UNTDID 4461: credit transfer.
const CREDIT_TRANSFER: &str = "30";
/// UNTDID 5189: discount.
const DISCOUNT: &str = "95";
/// UN/ECE Recommendation 20: one. Sheaf does not know units.
const UNIT: &str = "C62";
/// Amounts have two decimals at most (BR-DEC-*), whatever the currency.
const MAX_DECIMALS: u32 = 2;

/// The invoice as UBL 2.1 Invoice or CreditNote that conforms to EN 16931; a credit note names the
/// invoice that it corrects.
///
/// # Errors
/// [`DocumentError::Unsuitable`] names everything that the standard asks for and the invoice or the
/// profile does not have, or has and the standard cannot express; [`DocumentError::Failed`].
pub fn ubl(
    invoice: &Invoice,
    profile: &Profile,
    corrected: Option<&Corrected>,
) -> Result<String, DocumentError> {
    let rates = amounts::by_rate(invoice);
    let facts = check(invoice, profile, &rates)?;
    let profile = &profile.for_xml();
    let document = Document {
        invoice,
        profile,
        corrected,
        rates,
        facts,
        form: match invoice.kind {
            Kind::Invoice => &INVOICE,
            Kind::CreditNote => &CREDIT,
        },
    };
    let mut xml = Xml::new();
    let namespace = document.form.namespace;
    xml.root(document.form.root, namespace, |xml| document.write(xml))?;
    xml.finish()
}

/// What differs between the two documents.
struct Form {
    root: &'static str,
    namespace: &'static str,
    type_code: (&'static str, &'static str),
    line: &'static str,
    quantity: &'static str,
}

const INVOICE: Form = Form {
    root: "Invoice",
    namespace: "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2",
    type_code: ("cbc:InvoiceTypeCode", COMMERCIAL_INVOICE),
    line: "cac:InvoiceLine",
    quantity: "cbc:InvoicedQuantity",
};

const CREDIT: Form = Form {
    root: "CreditNote",
    namespace: "urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2",
    type_code: ("cbc:CreditNoteTypeCode", CREDIT_NOTE),
    line: "cac:CreditNoteLine",
    quantity: "cbc:CreditedQuantity",
};

type Written = Result<(), DocumentError>;

struct Document<'a> {
    invoice: &'a Invoice,
    /// One of [`Profile::for_xml`].
    profile: &'a Profile,
    corrected: Option<&'a Corrected>,
    rates: Vec<RateSum>,
    facts: Facts,
    form: &'static Form,
}

impl Document<'_> {
    /// The elements in the order of the schema.
    fn write(&self, xml: &mut Xml) -> Written {
        let facts = &self.facts;
        let is_invoice = self.invoice.kind == Kind::Invoice;
        xml.leaf("cbc:CustomizationID", CUSTOMIZATION)?;
        xml.leaf("cbc:ID", &facts.number)?;
        xml.leaf("cbc:IssueDate", &facts.issue_date.to_string())?;
        if let Some(due) = self.invoice.due_date.filter(|_| is_invoice) {
            xml.leaf("cbc:DueDate", &due.to_string())?;
        }
        let (type_element, type_code) = self.form.type_code;
        xml.leaf(type_element, type_code)?;
        xml.leaf("cbc:DocumentCurrencyCode", self.invoice.currency.code())?;
        self.billing_reference(xml)?;
        party::seller(xml, self.profile, facts)?;
        party::buyer(xml, facts)?;
        self.payment_means(xml)?;
        if let Some(terms) = &self.profile.payment_terms {
            xml.element("cac:PaymentTerms", |xml| xml.leaf("cbc:Note", terms))?;
        }
        for sum in self
            .rates
            .iter()
            .filter(|sum| !sum.document_discount.is_zero())
        {
            self.allowance(xml, sum.document_discount, Some(sum.rate))?;
        }
        self.tax_total(xml)?;
        self.monetary_total(xml)?;
        for (index, line) in self.invoice.lines.iter().enumerate() {
            xml.element(self.form.line, |xml| self.line(xml, index + 1, line))?;
        }
        Ok(())
    }

    /// BG-3: the invoice that is corrected.
    fn billing_reference(&self, xml: &mut Xml) -> Written {
        let Some(corrected) = self.corrected else {
            return Ok(());
        };
        let Some(number) = text::xml(&corrected.number) else {
            return Ok(());
        };
        xml.element("cac:BillingReference", |xml| {
            xml.element("cac:InvoiceDocumentReference", |xml| {
                xml.leaf("cbc:ID", &number)?;
                let date = corrected.issue_date.map(|date| date.to_string());
                date.map_or(Ok(()), |date| xml.leaf("cbc:IssueDate", &date))
            })
        })
    }

    /// BG-16, when the seller has an account. A credit note's due date has its place here.
    fn payment_means(&self, xml: &mut Xml) -> Written {
        let Some(iban) = &self.profile.iban else {
            return Ok(());
        };
        xml.element("cac:PaymentMeans", |xml| {
            xml.leaf("cbc:PaymentMeansCode", CREDIT_TRANSFER)?;
            if let Some(due) = self
                .invoice
                .due_date
                .filter(|_| self.invoice.kind == Kind::CreditNote)
            {
                xml.leaf("cbc:PaymentDueDate", &due.to_string())?;
            }
            xml.leaf("cbc:PaymentID", &self.facts.number)?;
            xml.element("cac:PayeeFinancialAccount", |xml| {
                xml.leaf("cbc:ID", iban)?;
                xml.leaf("cbc:Name", &self.facts.seller_name)?;
                let Some(bic) = &self.profile.bic else {
                    return Ok(());
                };
                xml.element("cac:FinancialInstitutionBranch", |xml| {
                    xml.leaf("cbc:ID", bic)
                })
            })
        })
    }

    /// A discount: of the lines of one rate, from the whole document (BG-20), or of one line
    /// (BG-27).
    fn allowance(&self, xml: &mut Xml, amount: Decimal, rate: Option<Decimal>) -> Written {
        xml.element("cac:AllowanceCharge", |xml| {
            xml.leaf("cbc:ChargeIndicator", "false")?;
            xml.leaf("cbc:AllowanceChargeReasonCode", DISCOUNT)?;
            xml.leaf("cbc:AllowanceChargeReason", "Discount")?;
            self.amount(xml, "cbc:Amount", amount)?;
            rate.map_or(Ok(()), |rate| {
                self.category(xml, "cac:TaxCategory", rate, false)
            })
        })
    }

    /// BG-22 (tax) and BG-23.
    fn tax_total(&self, xml: &mut Xml) -> Written {
        xml.element("cac:TaxTotal", |xml| {
            self.amount(xml, "cbc:TaxAmount", self.invoice.tax_total)?;
            for sum in &self.rates {
                xml.element("cac:TaxSubtotal", |xml| {
                    self.amount(xml, "cbc:TaxableAmount", sum.net)?;
                    self.amount(xml, "cbc:TaxAmount", sum.tax)?;
                    self.category(xml, "cac:TaxCategory", sum.rate, true)
                })?;
            }
            Ok(())
        })
    }

    /// BG-22. BR-CO-10 to BR-CO-16 hold since the model's totals are sums.
    fn monetary_total(&self, xml: &mut Xml) -> Written {
        let invoice = self.invoice;
        let allowances = invoice.discount;
        xml.element("cac:LegalMonetaryTotal", |xml| {
            self.amount(
                xml,
                "cbc:LineExtensionAmount",
                invoice.subtotal + allowances,
            )?;
            self.amount(xml, "cbc:TaxExclusiveAmount", invoice.subtotal)?;
            self.amount(xml, "cbc:TaxInclusiveAmount", invoice.total)?;
            // Allowances of several rates can add up to nothing, and still need their sum
            // (BR-CO-11).
            if self
                .rates
                .iter()
                .any(|sum| !sum.document_discount.is_zero())
            {
                self.amount(xml, "cbc:AllowanceTotalAmount", allowances)?;
            }
            if !invoice.amount_paid.is_zero() {
                self.amount(xml, "cbc:PrepaidAmount", invoice.amount_paid)?;
            }
            self.amount(xml, "cbc:PayableAmount", invoice.amount_due)
        })
    }

    /// BG-25.
    fn line(&self, xml: &mut Xml, position: usize, line: &Line) -> Written {
        xml.leaf("cbc:ID", &position.to_string())?;
        let quantity = decimal::render_plain(line.quantity, 0);
        xml.leaf_with(self.form.quantity, ("unitCode", UNIT), &quantity)?;
        self.amount(xml, "cbc:LineExtensionAmount", amounts::line_net(line))?;
        if !line.discount.is_zero() {
            self.allowance(xml, line.discount, None)?;
        }
        xml.element("cac:Item", |xml| {
            let description = text::xml_lines(&line.description).unwrap_or_default();
            let name = description.lines().next().unwrap_or_default().trim();
            if name != description {
                xml.leaf("cbc:Description", &description)?;
            }
            xml.leaf("cbc:Name", name)?;
            if let Some(sku) = line.sku.as_deref().and_then(text::xml) {
                xml.element("cac:SellersItemIdentification", |xml| {
                    xml.leaf("cbc:ID", &sku)
                })?;
            }
            self.category(xml, "cac:ClassifiedTaxCategory", line.tax_rate, false)
        })?;
        xml.element("cac:Price", |xml| {
            let price = decimal::render_plain(line.unit_price, self.decimals());
            self.money(xml, "cbc:PriceAmount", &price)
        })
    }

    /// A VAT category; with the reason why nothing is charged where it stands for a group.
    fn category(&self, xml: &mut Xml, element: &str, rate: Decimal, reasoned: bool) -> Written {
        let zero = rate.is_zero().then_some(self.profile.zero_rate_category);
        xml.element(element, |xml| {
            xml.leaf("cbc:ID", zero.map_or("S", ZeroRate::code))?;
            if zero != Some(ZeroRate::O) {
                let percent = decimal::render_plain(rate * Decimal::ONE_HUNDRED, 0);
                xml.leaf("cbc:Percent", &percent)?;
            }
            if let Some((code, reason)) = zero.filter(|_| reasoned).and_then(|z| self.reason(z)) {
                code.map_or(Ok(()), |code| xml.leaf("cbc:TaxExemptionReasonCode", code))?;
                xml.leaf("cbc:TaxExemptionReason", &reason)?;
            }
            xml.element("cac:TaxScheme", |xml| xml.leaf("cbc:ID", "VAT"))
        })
    }

    /// BT-121 and BT-120. Zero rated goods have none (BR-Z-10).
    fn reason(&self, zero: ZeroRate) -> Option<(Option<&'static str>, String)> {
        let own = self.profile.exemption_reason.clone();
        let (code, usual) = match zero {
            ZeroRate::Z => return None,
            // The check has seen that there is one.
            ZeroRate::E => return own.map(|own| (None, own)),
            ZeroRate::AE => ("VATEX-EU-AE", "Reverse charge"),
            ZeroRate::G => ("VATEX-EU-G", "Export outside the EU"),
            ZeroRate::O => ("VATEX-EU-O", "Not subject to VAT"),
        };
        Some((Some(code), own.unwrap_or_else(|| usual.to_owned())))
    }

    fn decimals(&self) -> u32 {
        self.invoice.currency.exponent().min(MAX_DECIMALS)
    }

    fn amount(&self, xml: &mut Xml, element: &str, value: Decimal) -> Written {
        // The check has seen that nothing is cut off here.
        self.money(
            xml,
            element,
            &decimal::render_amount(value, self.decimals()),
        )
    }

    fn money(&self, xml: &mut Xml, element: &str, value: &str) -> Written {
        xml.leaf_with(element, ("currencyID", self.invoice.currency.code()), value)
    }
}
