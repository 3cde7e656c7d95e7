//! An archive that is broken for one tenant: the members of other tenants go on.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use serde_json::json;
use sheaf_model::TenantId;
use sheaf_store::{
    ArchiveFile, ChangeError, Changed, ColdInvoice, ColdKeys, Command, CreateError, Created,
    FileKeys, NewChange, NewInvoice, StoreError,
};
use uuid::Uuid;

use super::{change, create, own_store, pay, payers, stored, within};
use crate::support::{archived_year, simple, tenant};

/// An archive that fails for one tenant, never answers another, and must not be asked for any
/// other.
struct Broken {
    failing: TenantId,
    hanging: TenantId,
}

impl Broken {
    async fn ask<T>(&self, tenant: TenantId) -> Result<T, StoreError> {
        if tenant == self.hanging {
            std::future::pending::<()>().await;
        }
        assert_eq!(tenant, self.failing, "asked for another's archive");
        Err(StoreError::Cold {
            detail: "the object is gone".into(),
        })
    }
}

impl ColdKeys for Broken {
    fn load<'a>(
        &'a self,
        file: &'a ArchiveFile,
    ) -> BoxFuture<'a, Result<Arc<FileKeys>, StoreError>> {
        Box::pin(self.ask(file.tenant_id))
    }

    fn cached(&self, _: &ArchiveFile) -> Option<Arc<FileKeys>> {
        None
    }

    fn fetch<'a>(
        &'a self,
        tenant: TenantId,
        _: Uuid,
    ) -> BoxFuture<'a, Result<Option<ColdInvoice>, StoreError>> {
        Box::pin(self.ask(tenant))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_archive_is_its_own_tenants_trouble() {
    let store = own_store().await;
    let (failing, hanging) = (tenant(&store).await, tenant(&store).await);
    for tenant in [failing, hanging] {
        archived_year(&store, tenant, "2012-05").await;
    }
    store.set_cold_keys(Arc::new(Broken { failing, hanging }));
    let old = |tenant, n: usize| {
        let external_id = format!("n{n}");
        simple(
            tenant,
            json!({"issue_date": "2012-05-05", "external_id": external_id}),
        )
    };
    let others = payers(&store, 10).await;
    let spawn = |new: NewInvoice| {
        let store = store.clone();
        tokio::spawn(async move { store.create_invoice(new).await })
    };
    let stuck: Vec<_> = (0..3).map(|n| spawn(old(hanging, n))).collect();
    for round in 0..3 {
        let failed = spawn(old(failing, round));
        let good = others.iter().map(|(tenant, _)| spawn(old(*tenant, round)));
        for created in within(join_all(good)).await {
            assert!(matches!(created, Ok(Ok(Created::New(_)))), "{created:?}");
        }
        let failed = within(failed).await.unwrap();
        assert!(
            matches!(failed, Err(CreateError::Store(StoreError::Cold { .. }))),
            "{failed:?}"
        );
    }
    assert!(stuck.iter().all(|create| !create.is_finished()));

    // Changes: of an invoice that may be archived, and of a draft whose number may be.
    let spawn = |change: NewChange| {
        let store = store.clone();
        tokio::spawn(async move { store.change_invoice(change).await })
    };
    let mut stuck: Vec<_> = stuck
        .into_iter()
        .map(|create| create.abort_handle())
        .collect();
    let issue = || Command::Issue {
        issue_date: Some("2012-05-20".parse().unwrap()),
        due_date: None,
    };
    for tenant in [failing, hanging] {
        let draft = create(&store, simple(tenant, json!({}))).await;
        for stays in [pay(tenant, Uuid::now_v7()), change(tenant, draft, issue())] {
            let asked = spawn(stays);
            if tenant == hanging {
                stuck.push(asked.abort_handle());
                continue;
            }
            let failed = within(asked).await.unwrap();
            assert!(
                matches!(failed, Err(ChangeError::Store(StoreError::Cold { .. }))),
                "{failed:?}"
            );
        }
        let paid = others.iter().map(|(payer, invoice)| {
            let mut pay = pay(*payer, *invoice);
            if let Command::Pay(payment) = &mut pay.command {
                payment.reference = tenant.to_string();
            }
            spawn(pay)
        });
        for paid in within(join_all(paid)).await {
            assert!(matches!(paid, Ok(Ok(Changed::New(_)))), "{paid:?}");
        }
    }
    assert!(stuck.iter().all(|task| !task.is_finished()));

    // A chunk of a platform's upload.
    let chunk = others.iter().map(|(tenant, _)| old(*tenant, 100));
    let chunk = chunk.chain([old(failing, 100)]).collect();
    let outcome = within(store.write_chunk(chunk)).await;
    assert!(
        matches!(outcome, Err(StoreError::Cold { .. })),
        "{outcome:?}"
    );
    for (tenant, _) in &others {
        assert_eq!(stored(*tenant).await, 1 + 3 + 1);
    }
    for task in stuck {
        task.abort();
    }
}
