//! What keeps an invoice from being exported.

use serde::Serialize;
use sheaf_model::Code;
use utoipa::ToSchema;
use uuid::Uuid;

/// Nothing is to be said besides the invoice.
#[derive(Debug, ToSchema)]
pub struct ValidateIn {}

/// Whether an invoice can be exported, form by form.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Exportable)]
pub struct ExportableOut {
    /// As A4 pages.
    pub pdf: bool,
    /// As e-invoice: UBL 2.1 under EN 16931.
    pub ubl: bool,
}

/// One thing that keeps an invoice from being exported.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Finding)]
pub struct FindingOut {
    /// The form that it keeps the invoice from: `pdf` or `ubl`.
    #[schema(example = "ubl")]
    pub format: &'static str,
    /// Where: a field of the invoice, or one of the profile as `profile.<field>`.
    #[schema(example = "customer.country")]
    pub field: String,
    /// What, for machines.
    #[schema(example = "missing_field")]
    #[schema(value_type = String)]
    pub code: Code,
    /// What, for people.
    #[schema(example = "an e-invoice needs it")]
    pub detail: String,
}

/// What keeps an invoice from being exported.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Validation)]
pub struct ValidationOut {
    /// The invoice.
    pub invoice_id: Uuid,
    /// The version that was looked at.
    pub version: i64,
    /// Its status. A draft is looked at as if it were issued today.
    #[schema(example = "draft")]
    pub status: &'static str,
    /// Whether it can be exported.
    pub exportable: ExportableOut,
    /// Why not: at most 100 a form, and none where it can be.
    #[schema(max_items = 200)]
    pub findings: Vec<FindingOut>,
}
