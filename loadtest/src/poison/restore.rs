//! Restores: documents as they were answered, with their fields at extremes.

use serde_json::{Value, json};
use uuid::Uuid;

use super::base::Subject;
use super::cases::{self, Case, Field, Operation};
use super::{KEPT, PoisonError, Run};

impl Run {
    /// Restores of invoices as they are answered, with each of their fields at its extremes.
    pub(super) async fn restores(&mut self, operations: &[Operation]) -> Result<(), PoisonError> {
        let Some(upload) = operations.iter().find(|one| one.id == "uploadInvoices") else {
            return Err(PoisonError("the document has no uploadInvoices".to_owned()));
        };
        // What is paid refuses most changes, and what is open has no payments.
        for subject in [Subject::Issued, Subject::Paid] {
            let good = self.invoice(subject).await?;
            let mut fields = cases::of_body(&good, &cases::leaves(&good), false);
            fields.extend(twice(&good));
            for field in fields {
                if !self.is_due() {
                    continue;
                }
                self.restore(upload, &good, &field).await?;
                if self.report.gave_up {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn restore(
        &mut self,
        upload: &Operation,
        good: &Value,
        field: &Field,
    ) -> Result<(), PoisonError> {
        let name = format!("restore {}", field.name);
        let before = self.report.findings.len();
        for case in &field.cases {
            let (id, body) = fresh(case.body.as_deref().unwrap_or_default(), good);
            let query = "?restore=true".to_owned();
            let case = Case {
                body: Some(body.clone()),
                query,
                ..case.clone()
            };
            let told = self.one(upload, &case).await?;
            self.judge(&name, false, &told, &body);
            if told.json()["created"] == 1 {
                self.follow_up(&name, &json!({"id": id, "lines": []})).await;
            }
        }
        self.report.findings.truncate(before + KEPT);
        self.report.fields += 1;
        self.probe(&name).await;
        Ok(())
    }
}

/// A document with two payments of one id.
fn twice(good: &Value) -> Option<Field> {
    let mut body = good.clone();
    let payments = body["payments"]
        .as_array_mut()
        .filter(|payments| !payments.is_empty())?;
    let mut again = payments[0].clone();
    again["reference"] = json!("second");
    payments.push(again);
    let case = Case {
        path: None,
        query: String::new(),
        body: Some(body.to_string()),
        refused: false,
    };
    Some(Field {
        name: "payments with one id".to_owned(),
        cases: vec![case],
    })
}

/// The same document with an id that nobody has, so that it is no duplicate.
fn fresh(body: &str, of: &Value) -> (String, String) {
    let old = of["id"].as_str().unwrap_or_default();
    // Same time, other randomness.
    let id = format!(
        "{}{}",
        &old[..old.len().min(24)],
        &Uuid::new_v4().simple().to_string()[..12]
    );
    (id.clone(), body.replace(old, &id))
}
