//! Every bad input has a problem code of its own, and leaves nothing behind.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{TestApp, invoice, send};

fn line(members: Value) -> Value {
    let mut line = json!({"description": "Widget", "quantity": "1", "unit_price": "1.00"});
    line.as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    invoice(json!({"lines": [line]}))
}

fn nested(depth: usize) -> Value {
    (1..depth).fold(json!({}), |inner, _| json!({"a": inner}))
}

/// Status, code, document.
fn documents() -> Vec<(u16, &'static str, Value)> {
    let far = Uuid::from_u128((7_000_000_000_000_u128 << 80) | (7 << 76) | (2 << 62));
    let payment = |amount: &str| {
        json!({"payments": [{"reference": "p", "amount": amount,
        "paid_on": "2026-11-03", "method": "card"}]})
    };
    vec![
        (422, "invalid_type", json!([])),
        (422, "invalid_type", invoice(json!({"currency": 7}))),
        (422, "invalid_type", invoice(json!({"lines": {}}))),
        (422, "unknown_field", invoice(json!({"curency": "GBP"}))),
        (422, "unknown_currency", invoice(json!({"currency": "XYZ"}))),
        (
            422,
            "missing_field",
            json!({"lines": [{"description": "x", "quantity": "1", "unit_price": "1"}]}),
        ),
        (422, "quantity_zero", line(json!({"quantity": "0"}))),
        (422, "negative_total", line(json!({"quantity": "-1"}))),
        (422, "too_many_decimals", line(json!({"discount": "0.001"}))),
        (
            422,
            "too_many_decimals",
            line(json!({"unit_price": "0.0000001"})),
        ),
        (
            422,
            "amount_out_of_range",
            line(json!({"unit_price": "1000000000000"})),
        ),
        (422, "no_lines", invoice(json!({"lines": []}))),
        (422, "total_mismatch", invoice(json!({"total": "26.99"}))),
        (422, "id_not_v7", invoice(json!({"id": Uuid::new_v4()}))),
        (422, "id_in_future", invoice(json!({"id": far}))),
        (
            422,
            "date_out_of_range",
            invoice(json!({"issue_date": "1969-12-31"})),
        ),
        (
            422,
            "date_out_of_range",
            invoice(json!({"due_date": "2200-01-01"})),
        ),
        (
            422,
            "invalid_date",
            invoice(json!({"issue_date": "2026-02-30"})),
        ),
        (
            422,
            "due_before_issue",
            invoice(json!({"due_date": "2026-11-01"})),
        ),
        (
            422,
            "string_too_long",
            invoice(json!({"number": "n".repeat(101)})),
        ),
        (422, "string_has_nul", invoice(json!({"number": "a\0b"}))),
        (
            422,
            "metadata_too_large",
            invoice(json!({"metadata": {"a": "x".repeat(65_536)}})),
        ),
        (
            422,
            "metadata_too_deep",
            invoice(json!({"metadata": nested(33)})),
        ),
        (422, "overpaid", invoice(payment("26.99"))),
        (422, "payment_not_positive", invoice(payment("0"))),
        (422, "customer_not_found", {
            let mut document = invoice(json!({"customer_id": Uuid::now_v7()}));
            document.as_object_mut().unwrap().remove("customer");
            document
        }),
        (
            403,
            "tenant_mismatch",
            invoice(json!({"tenant_id": Uuid::now_v7()})),
        ),
        (
            403,
            "tenant_mismatch",
            invoice(json!({"tenant_external_id": "somebody"})),
        ),
    ]
}

#[tokio::test]
async fn each_bad_invoice_has_its_code_and_nothing_is_written() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    for (status, code, document) in documents() {
        let answer = app.create("/v1/invoices", &tenant.key, &document).await;
        let problem = answer.is_problem(status, code);
        if status == 422 && problem["errors"].is_array() {
            assert_eq!(
                problem["errors"][0]["code"], code,
                "the first field's code is the answer's"
            );
        }
    }
    assert_eq!(app.all_invoices(&tenant).await, Vec::<Value>::new());
    app.create(
        "/v1/invoices",
        &tenant.key,
        &invoice(json!({"metadata": nested(32)})),
    )
    .await
    .is(201);
}

#[tokio::test]
async fn the_same_mistakes_are_named_by_line_in_an_upload() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let documents = documents();
    let body: String = documents
        .iter()
        .map(|(_, _, document)| format!("{document}\n"))
        .collect();
    let summary = send(app.upload("/v1/invoices/bulk", &tenant.key, body))
        .await
        .is(200);
    assert_eq!(
        (&summary["created"], &summary["rejected"]),
        (&json!(0), &json!(documents.len()))
    );
    for (error, (line, (_, code, _))) in summary["errors"]
        .as_array()
        .unwrap()
        .iter()
        .zip((1..).zip(&documents))
    {
        assert_eq!(
            (&error["line"], &error["code"]),
            (&json!(line), &json!(code)),
            "{error}"
        );
    }
    assert_eq!(app.all_invoices(&tenant).await, Vec::<Value>::new());
}

#[tokio::test]
async fn bodies_that_are_no_document_are_refused() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let post = |body: Vec<u8>| {
        send(
            app.post("/v1/invoices", &tenant.key)
                .header("content-type", "application/json")
                .body(body),
        )
    };
    for bad in ["{", "nonsense", "{}{}", "{\"currency\":\"GBP\",}", "\u{0}"] {
        let problem = post(bad.into()).await.is_problem(400, "invalid_json");
        let detail = problem["detail"].as_str().unwrap();
        let begin = "the body is not a JSON document: ";
        assert!(detail.starts_with(begin), "{detail}");
        assert!(detail.contains(" at character "), "{detail}");
    }
    post(vec![b'"', 0xff, b'"'])
        .await
        .is_problem(400, "invalid_json");
    post(Vec::new()).await.is_problem(400, "missing_body");
    post(vec![b' '; (2 << 20) + 1])
        .await
        .is_problem(413, "body_too_large");
    let zeros = crate::support::gzip(&vec![b' '; (2 << 20) + 1]);
    let packed = app
        .post("/v1/invoices", &tenant.key)
        .header("content-type", "application/json");
    send(packed.header("content-encoding", "gzip").body(zeros))
        .await
        .is_problem(413, "body_too_large");
    for media_type in ["text/plain", "application/x-ndjson", ""] {
        let request = app
            .post("/v1/invoices", &tenant.key)
            .header("content-type", media_type)
            .body("{}");
        send(request)
            .await
            .is_problem(415, "unsupported_media_type");
    }
    let bulk = app.post("/v1/invoices/bulk", &tenant.key).json(&json!({}));
    send(bulk).await.is_problem(415, "unsupported_media_type");
    assert_eq!(app.all_invoices(&tenant).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_given_up() {
    let app = TestApp::start_with(|config| {
        config.web.body_timeout = std::time::Duration::from_millis(200)
    })
    .await;
    let tenant = app.tenant().await;
    let endless = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = app
        .post("/v1/invoices", &tenant.key)
        .header("content-type", "application/json");
    send(request.body(reqwest::Body::wrap_stream(endless)))
        .await
        .is_problem(408, "request_timeout");
}

#[tokio::test]
async fn parameters_that_a_route_does_not_have_are_refused() {
    let app = TestApp::start().await;
    let tenant = app.tenant().await;
    let path = "/v1/invoices?atomic=true";
    app.create(path, &tenant.key, &invoice(json!({})))
        .await
        .is_problem(400, "unknown_parameter");
    let upload =
        |query: &str| send(app.upload(&format!("/v1/invoices/bulk?{query}"), &tenant.key, "{}\n"));
    upload("create_tenants=true")
        .await
        .is_problem(400, "unknown_parameter");
    upload("atomic=yes")
        .await
        .is_problem(400, "invalid_parameter");
    assert_eq!(app.all_invoices(&tenant).await, Vec::<Value>::new());
}
