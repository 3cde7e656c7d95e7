//! Seller (BG-4) and buyer (BG-7).

use super::Written;
use super::check::Facts;
use super::xml::Xml;
use crate::profile::Profile;

/// A postal address, filled from the top.
struct Address<'a> {
    lines: &'a [String],
    city: Option<&'a str>,
    postcode: Option<&'a str>,
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
            optional(xml, "cbc:CityName", self.city)?;
            optional(xml, "cbc:PostalZone", self.postcode)?;
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

/// The profile is one of [`Profile::for_xml`].
pub(super) fn seller(xml: &mut Xml, profile: &Profile, facts: &Facts) -> Written {
    let address = Address {
        lines: &profile.address_lines,
        city: profile.city.as_deref(),
        postcode: profile.postcode.as_deref(),
        country: &facts.seller_country,
    };
    xml.element("cac:AccountingSupplierParty", |xml| {
        xml.element("cac:Party", |xml| {
            address.write(xml)?;
            if let Some(id) = &facts.seller_vat_id {
                tax_scheme(xml, id, "VAT")?;
            }
            if let Some(id) = &profile.tax_id {
                tax_scheme(xml, id, "TAX")?;
            }
            let number = profile.registration_number.as_deref();
            legal_entity(xml, &facts.seller_name, number)?;
            contact(xml, profile.phone.as_deref(), profile.email.as_deref())
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
