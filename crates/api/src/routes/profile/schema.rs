//! The profile as OpenAPI describes it. Read and rendered by `sheaf-documents`; never filled.

use utoipa::ToSchema;

/// The seller, as documents show it. An empty text is as good as none.
#[derive(Debug, ToSchema)]
#[schema(as = Profile)]
pub struct ProfileDoc {
    /// Name of the company.
    #[schema(min_length = 1, max_length = 300, example = "Acme Ltd")]
    pub name: String,
    /// What stands above the city: 3 lines of 100 characters at most.
    #[schema(max_items = 3)]
    pub address_lines: Option<Vec<String>>,
    /// City.
    #[schema(max_length = 100)]
    pub city: Option<String>,
    /// Postcode.
    #[schema(max_length = 20)]
    pub postcode: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[schema(pattern = "^[A-Z]{2}$", example = "DE")]
    pub country: Option<String>,
    /// VAT number with its country in front (`EL` for Greece).
    #[schema(max_length = 100, example = "DE123456789")]
    pub vat_id: Option<String>,
    /// Any other tax registration.
    #[schema(max_length = 100)]
    pub tax_id: Option<String>,
    /// Number in the register of companies.
    #[schema(max_length = 100)]
    pub registration_number: Option<String>,
    /// Email address.
    #[schema(max_length = 320)]
    pub email: Option<String>,
    /// Phone number.
    #[schema(max_length = 50)]
    pub phone: Option<String>,
    /// IBAN; spaces are dropped, check digits are checked.
    #[schema(example = "DE89370400440532013000")]
    pub iban: Option<String>,
    /// BIC.
    #[schema(pattern = "^[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$")]
    pub bic: Option<String>,
    /// When and how to pay; shown while something is due.
    #[schema(max_length = 1000)]
    pub payment_terms: Option<String>,
    /// At the foot of every page.
    #[schema(max_length = 300)]
    pub footer: Option<String>,
    /// Of the pages.
    #[schema(pattern = "^(en|de|fr|es|nl|pl|ar|he)$", default = "en")]
    pub language: Option<String>,
    /// What a tax rate of 0 means: `Z` zero rated, `E` exempt, `AE` reverse charge, `G` export, `O`
    /// not subject to VAT.
    #[schema(pattern = "^(Z|E|AE|G|O)$", default = "Z")]
    pub zero_rate_category: Option<String>,
    /// Why no tax is charged where the rate is 0; an e-invoice needs it with `E`.
    #[schema(max_length = 300)]
    pub exemption_reason: Option<String>,
}
