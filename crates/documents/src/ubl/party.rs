//! Seller (BG-4) and buyer (BG-7).

use super::Written;
use super::check::Facts;
use super::xml::Xml;
use crate::profile::Profile;
use crate::text;

/// A postal address, filled from the top.
struct Address<'a> {
    lines: &'a [String],
    city: Option<String>,
    postcode: Option<String>,
    country: &'a str,
}

impl Address<'_> {
    fn write(&self, xml: &mut Xml) -> Written {
        xml.element("cac:PostalAddress", |xml| {
            let mut lines = self.lines.iter();
            for element in ["cbc:StreetName", "cbc:AdditionalStreetName"] {
                if let Some(line) = lines.next() {
                    xml.leaf(element, line)?;
                }
            }
            optional(xml, "cbc:CityName", self.city.as_deref())?;
            optional(xml, "cbc:PostalZone", self.postcode.as_deref())?;
            // There is one more line, BT-162 or BT-163: it takes the rest.
            let rest: Vec<&str> = lines.map(String::as_str).collect();
            if !rest.is_empty() {
                let rest = rest.join(", ");
                xml.element("cac:AddressLine", |xml| xml.leaf("cbc:Line", &rest))?;
            }
            xml.element("cac:Country", |xml| {
                xml.leaf("cbc:IdentificationCode", self.country)
            })
        })
    }
}

fn optional(xml: &mut Xml, element: &str, value: Option<&str>) -> Written {
    value.map_or(Ok(()), |value| xml.leaf(element, value))
}

fn clean(text: Option<&String>) -> Option<String> {
    text.and_then(|text| text::xml(text))
}

fn tax_scheme(xml: &mut Xml, id: &str, scheme: &str) -> Written {
    xml.element("cac:PartyTaxScheme", |xml| {
        xml.leaf("cbc:CompanyID", id)?;
        xml.element("cac:TaxScheme", |xml| xml.leaf("cbc:ID", scheme))
    })
}

fn legal_entity(xml: &mut Xml, name: &str, number: Option<&str>) -> Written {
    xml.element("cac:PartyLegalEntity", |xml| {
        xml.leaf("cbc:RegistrationName", name)?;
        optional(xml, "cbc:CompanyID", number)
    })
}

fn contact(xml: &mut Xml, phone: Option<&str>, email: Option<&str>) -> Written {
    if phone.is_none() && email.is_none() {
        return Ok(());
    }
    xml.element("cac:Contact", |xml| {
        optional(xml, "cbc:Telephone", phone)?;
        optional(xml, "cbc:ElectronicMail", email)
    })
}

pub(super) fn seller(xml: &mut Xml, profile: &Profile, facts: &Facts) -> Written {
    let lines: Vec<String> = profile
        .address_lines
        .iter()
        .filter_map(|line| text::xml(line))
        .collect();
    let address = Address {
        lines: &lines,
        city: clean(profile.city.as_ref()),
        postcode: clean(profile.postcode.as_ref()),
        country: &facts.seller_country,
    };
    xml.element("cac:AccountingSupplierParty", |xml| {
        xml.element("cac:Party", |xml| {
            address.write(xml)?;
            if let Some(id) = &facts.seller_vat_id {
                tax_scheme(xml, id, "VAT")?;
            }
            if let Some(id) = clean(profile.tax_id.as_ref()) {
                tax_scheme(xml, &id, "TAX")?;
            }
            let number = clean(profile.registration_number.as_ref());
            legal_entity(xml, &facts.seller_name, number.as_deref())?;
            let phone = clean(profile.phone.as_ref());
            contact(xml, phone.as_deref(), profile.email.as_deref())
        })
    })
}

pub(super) fn buyer(xml: &mut Xml, facts: &Facts) -> Written {
    let address = Address {
        lines: &facts.buyer_address,
        city: None,
        postcode: None,
        country: &facts.buyer_country,
    };
    xml.element("cac:AccountingCustomerParty", |xml| {
        xml.element("cac:Party", |xml| {
            if let Some(number) = &facts.buyer_number {
                xml.element("cac:PartyIdentification", |xml| xml.leaf("cbc:ID", number))?;
            }
            address.write(xml)?;
            if let Some(id) = &facts.buyer_vat_id {
                tax_scheme(xml, id, "VAT")?;
            }
            legal_entity(xml, &facts.buyer_name, facts.buyer_registration.as_deref())?;
            contact(xml, None, facts.buyer_email.as_deref())
        })
    })
}
