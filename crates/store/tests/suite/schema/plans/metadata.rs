//! Plans of lists that are filtered by metadata.

use serde_json::json;

use super::statements;
use crate::support::explain::{Home, explain_analyze, pages, rows_removed, with_member};
use crate::support::{raw, simple, store, tenant};

/// One tenant of many, with its thousands of invoices, looks one up by a value of its metadata.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_filters_use_their_index() {
    let store = store().await;
    let tenant = tenant(&store).await;
    // A year of its own: other tests must not change the statistics.
    let first = simple(tenant, json!({"issue_date": "2011-01-01"}));
    store.write_chunk(vec![first]).await.unwrap();
    let home = Home::of(tenant).await;
    // Tenants of the same shard share 15,000 invoices with one that has 5,000.
    let same_shard = if sheaf_local::test_env().citus {
        "where get_shard_id_for_distribution_column('invoices', u) = \
        get_shard_id_for_distribution_column('invoices', $1::uuid)"
    } else {
        ""
    };
    let fill = format!(
        "insert into invoices (tenant_id, id, year, kind, status, currency, subtotal, \
        discount_total, tax_total, total,
                               amount_paid, amount_due, line_count, payment_count, metadata, \
                               version, created_at,
                               modified_at)
         select case when n % 4 = 0 then $1::uuid else others[1 + n % cardinality(others)] end,
                ('0130' || lpad(to_hex(n), 8, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid, \
                2011, 'invoice',
                'issued', 'GBP', 0, 0, 0, 0, 0, 0, 0, 0,
                jsonb_build_object('order_id', 'o' || n, 'source', 'shop', 'batch', n % 7), 1, \
                now(), now()
         from generate_series(1, 20000) n,
              (select array_agg(u) as others from (select md5($1::uuid::text || k)::uuid as u from \
              generate_series(1, 600) k) u
               {same_shard}) o"
    );
    raw().await.execute(&fill, &[&tenant.0]).await.unwrap();
    let shard = home.shard("invoices");
    let vacuum = format!("vacuum (analyze) {shard}");
    home.owner.batch_execute(&vacuum).await.unwrap();
    let (_, sql, _) = statements()
        .into_iter()
        .find(|(name, ..)| name == "invoice/list by metadata")
        .unwrap();
    let value = "'{\"order_id\": \"o400\"}'";
    let literals = format!(
        "'{}', null, 21{}, {value}, {value}",
        tenant.0,
        ", null".repeat(7)
    );
    // The store does not keep this statement prepared: it is planned for the value.
    let custom = "set plan_cache_mode = force_custom_plan";
    home.owner.batch_execute(custom).await.unwrap();
    let sql = home.on_shards(&sql);
    let plan = explain_analyze(&home.owner, &sql, &literals).await;
    let by_metadata = with_member(&plan, "Index Name").into_iter().any(|scan| {
        let index = scan["Index Name"].as_str().unwrap();
        index.starts_with("invoices_y2011_") && index.contains("metadata")
    });
    assert!(by_metadata, "{plan:#}");
    assert_eq!(plan[0]["Plan"]["Actual Rows"], 1, "{plan:#}");
    assert!(rows_removed(&plan) < 100, "{plan:#}");
    // The tenant's own rows are spread over hundreds of pages.
    assert!(pages(&plan) < 300, "{} pages: {plan:#}", pages(&plan));

    // A value that all have: the newest ones are read, and no more.
    let literals = literals.replace(value, "'{\"source\": \"shop\"}'");
    let plan = explain_analyze(&home.owner, &sql, &literals).await;
    assert_eq!(plan[0]["Plan"]["Actual Rows"], 21, "{plan:#}");
    assert!(pages(&plan) < 300, "{} pages: {plan:#}", pages(&plan));
}
