//! Lists: order, cursor, filters, the bound on lines.

use crate::support::{invoice, simple, store, tenant};
use serde_json::json;
use sheaf_model::{Kind, Status};
use sheaf_store::ListFilter;

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_newest_first_and_complete() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let chunk: Vec<_> = (0..25)
        .map(|n| {
            simple(
                tenant,
                json!({"issue_date": format!("20{:02}-03-0{}", 10 + n % 5, 1 + n % 9)}),
            )
        })
        .collect();
    let mut expected: Vec<_> = chunk.iter().map(|n| n.invoice.id).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    store.write_chunk(chunk).await.unwrap();
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store
            .list_invoices(tenant, &ListFilter::default(), before, 7)
            .await
            .unwrap();
        seen.extend(page.items.iter().map(|i| i.id));
        before = seen.last().copied();
        if !page.has_more {
            break;
        }
        assert_eq!(page.items.len(), 7);
    }
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_agrees_with_its_own_definition() {
    let store = store().await;
    let (tenant, stranger) = (tenant(&store).await, tenant(&store).await);
    let all = [
        json!({"external_id": "a", "issue_date": "2021-01-01", "metadata": {"n": 5, "s": "5",
            "b": true}}),
        json!({"external_id": "b", "issue_date": "2021-02-01", "kind": "credit_note",
            "metadata": {"n": "5"}}),
        json!({"number": "N", "issue_date": "2021-03-01", "metadata": {"b": "true"},
               "payments": [{"reference": "p", "amount": "10", "paid_on": "2021-03-02",
                   "method": "card"}]}),
        json!({"customer": {"external_id": "c", "name": "C"}, "status": "draft"}),
    ];
    store
        .write_chunk(all.iter().map(|j| simple(tenant, j.clone())).collect())
        .await
        .unwrap();
    store
        .write_chunk(all.iter().map(|j| simple(stranger, j.clone())).collect())
        .await
        .unwrap();
    let everything = store
        .list_invoices(tenant, &ListFilter::default(), None, 100)
        .await
        .unwrap()
        .items;
    assert_eq!(everything.len(), 4);
    let customer = everything.iter().find_map(|i| i.customer_id);
    let day = |s: &str| Some(s.parse().unwrap());
    let f = ListFilter::default;
    let filters = [
        (
            ListFilter {
                status: Some(Status::Paid),
                ..f()
            },
            1,
        ),
        (
            ListFilter {
                kind: Some(Kind::CreditNote),
                ..f()
            },
            1,
        ),
        (
            ListFilter {
                customer_id: customer,
                ..f()
            },
            1,
        ),
        (
            ListFilter {
                number: Some("N".into()),
                ..f()
            },
            1,
        ),
        (
            ListFilter {
                external_id: Some("a".into()),
                ..f()
            },
            1,
        ),
        (
            ListFilter {
                issued_from: day("2021-02-01"),
                ..f()
            },
            2,
        ),
        (
            ListFilter {
                issued_from: day("2021-01-02"),
                issued_to: day("2021-02-28"),
                ..f()
            },
            1,
        ),
        (
            ListFilter {
                metadata: vec![("n".into(), "5".into())],
                ..f()
            },
            2,
        ),
        (
            ListFilter {
                metadata: vec![("b".into(), "true".into())],
                ..f()
            },
            2,
        ),
        (
            ListFilter {
                metadata: vec![("n".into(), "5".into()), ("b".into(), "true".into())],
                ..f()
            },
            1,
        ),
        (
            ListFilter {
                external_id: Some("nobody".into()),
                ..f()
            },
            0,
        ),
    ];
    for (filter, count) in filters {
        let listed = store
            .list_invoices(tenant, &filter, None, 100)
            .await
            .unwrap()
            .items;
        let defined: Vec<_> = everything
            .iter()
            .filter(|i| filter.matches(i))
            .cloned()
            .collect();
        assert_eq!(listed, defined, "{filter:?}");
        assert_eq!(listed.len(), count, "{filter:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_long_invoices_ends_early() {
    let store = store().await;
    let tenant = tenant(&store).await;
    let lines: Vec<_> = (0..9_000)
        .map(|n| json!({"description": format!("l{n}"), "quantity": 1, "unit_price": "0.01"}))
        .collect();
    let long = json!({"currency": "GBP", "lines": lines});
    store
        .write_chunk((0..3).map(|_| invoice(tenant, &long)).collect())
        .await
        .unwrap();
    let page = store
        .list_invoices(tenant, &ListFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!((page.items.len(), page.has_more), (2, true));
    let rest = store
        .list_invoices(tenant, &ListFilter::default(), Some(page.items[1].id), 10)
        .await
        .unwrap();
    assert_eq!((rest.items.len(), rest.has_more), (1, false));
}
