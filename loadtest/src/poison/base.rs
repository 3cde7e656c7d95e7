//! A good request for each operation, from which the bad ones are made.

use serde_json::{Value, json};

/// What a path's placeholders stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    None,
    Draft,
    Issued,
    Paid,
    CreditNote,
    Customer,
    Tenant,
}

/// A good request.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) subject: Subject,
    pub(super) body: Option<Value>,
    /// With the admin key.
    pub(super) admin: bool,
}

fn of(subject: Subject, body: Option<Value>) -> Base {
    Base {
        subject,
        body,
        admin: false,
    }
}

fn line() -> Value {
    json!({"sku": "s", "description": "Work", "quantity": "2", "unit_price": "10.00",
        "discount": "1.00",
        "tax_rate": "0.19"})
}

fn customer() -> Value {
    json!({"external_id": "poison", "name": "Poison Ltd", "email": "a@example.com", "tax_id": "DE1",
        "address": "Street 1", "country": "DE"})
}

fn invoice() -> Value {
    json!({"currency": "EUR", "kind": "invoice", "customer": customer(), "issue_date": "2026-01-05",
        "due_date": "2026-02-05", "discount": "1.00", "lines": [line()], "status": "issued",
        "payments": [{"reference": "p", "amount": "1.00", "paid_on": "2026-01-06",
            "method": "card"}],
        "metadata": {"plan": "pro"}})
}

fn money() -> Value {
    json!({"reference": "p-1", "amount": "1.00", "paid_on": "2026-01-06", "method": "card"})
}

/// The good request of an operation; `None` for one that is not known here, which is a gap to be
/// filled.
pub(super) fn base(operation: &str) -> Option<Base> {
    use Subject as S;
    Some(match operation {
        "createInvoice" | "uploadInvoices" => of(S::None, Some(invoice())),
        "uploadPlatformInvoices" => {
            let mut line = invoice();
            line["tenant_external_id"] = json!("poison");
            Base {
                admin: true,
                ..of(S::None, Some(line))
            }
        }
        "editInvoice" => of(
            S::Draft,
            Some(
                json!({"currency": "EUR", "kind": "invoice", "customer": customer(),
            "issue_date": "2026-01-05", "due_date": "2026-02-05", "discount": "1.00",
                "lines": [line()],
            "metadata": {"plan": "pro"}}),
            ),
        ),
        "issueInvoice" => of(
            S::Draft,
            Some(json!({"issue_date": "2026-01-05", "due_date": "2026-02-05"})),
        ),
        "sendInvoice" => of(
            S::Issued,
            Some(json!({"channel": "email", "recipient": "a@example.com"})),
        ),
        "cancelInvoice" => of(S::Issued, Some(json!({"reason": "r"}))),
        "payInvoice" => of(S::Issued, Some(money())),
        "refundInvoice" => of(S::Paid, Some(money())),
        "reversePayment" => of(
            S::Paid,
            Some(json!({"reference": "r-1", "paid_on": "2026-01-06", "reason": "r"})),
        ),
        "creditInvoice" => of(
            S::Issued,
            Some(json!({"lines": [line()], "discount": "0.50",
            "issue_date": "2026-01-06", "reason": "r", "apply": true, "metadata": {"a": 1}})),
        ),
        "applyCreditNote" => of(
            S::CreditNote,
            Some(json!({"invoice_id": "{issued}", "amount": "1.00"})),
        ),
        "recallInvoice" => of(S::Issued, Some(json!({}))),
        "validateInvoice" => of(S::Draft, Some(json!({}))),
        "createCustomer" => {
            let mut body = customer();
            body["external_id"] = json!("{unique}");
            body["metadata"] = json!({"a": 1});
            of(S::None, Some(body))
        }
        "updateCustomer" => of(
            S::Customer,
            Some(
                json!({"name": "N", "email": "b@example.com", "tax_id": "DE2",
            "address": "Street 2", "country": "FR", "metadata": {"a": 2}, "active": true}),
            ),
        ),
        "mergeCustomer" => of(S::Customer, Some(json!({"into": "{customer}"}))),
        "eraseCustomer" | "deleteCustomer" => of(S::Customer, None),
        "createOwnApiKey" => of(S::None, Some(json!({"name": "k", "role": "viewer"}))),
        "rotateOwnApiKey" => of(S::None, Some(json!({"overlap_seconds": 60}))),
        "setNumberSeries" => of(
            S::None,
            Some(json!({"prefix": "INV-{year}-", "padding": 6, "next": 1000, "year": 2026})),
        ),
        "putArchiveColumns" => of(S::None, Some(json!({"metadata_keys": ["plan"]}))),
        "queryArchive" => of(
            S::None,
            Some(json!({"sql": "select 1", "format": "json", "tier": "cold"})),
        ),
        "putProfile" => of(
            S::None,
            Some(json!({"name": "Seller Ltd", "address": "Street 1", "country": "DE"})),
        ),
        "putRetention" => of(
            S::None,
            Some(json!({"legal_hold": false, "keep_until": "2030-01-01"})),
        ),
        "createTenant" => Base {
            admin: true,
            ..of(
                S::None,
                Some(json!({"name": "T", "external_id": "{unique}"})),
            )
        },
        "createApiKey" => Base {
            admin: true,
            ..of(S::Tenant, Some(json!({"name": "k", "role": "viewer"})))
        },
        "rotateApiKey" => Base {
            admin: true,
            ..of(S::Tenant, Some(json!({"overlap_seconds": 60})))
        },
        "listApiKeys" | "getTenant" | "revokeApiKey" => Base {
            admin: true,
            ..of(S::Tenant, None)
        },
        "listTenants" => Base {
            admin: true,
            ..of(S::None, None)
        },
        "getInvoice" | "getInvoicePdf" | "getInvoiceXml" | "listInvoiceEvents" => {
            of(S::Issued, None)
        }
        "getCustomer" | "getCustomerBalance" | "listCustomerInvoices" | "getErasure" => {
            of(S::Customer, None)
        }
        "healthz" | "readyz" | "metrics" | "listOwnApiKeys" | "revokeOwnApiKey"
        | "getArchiveColumns" | "exportArchive" | "listArchiveFiles" | "listCustomers"
        | "listEvents" | "listInvoices" | "listNumberSeries" | "getProfile" | "getAging"
        | "getSummary" | "listRetention" => of(S::None, None),
        _ => return None,
    })
}
