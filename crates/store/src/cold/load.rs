//! What a request needs of its tenant's archive is loaded in the task of that request.

use std::sync::Arc;
use std::time::Duration;

use sheaf_model::TenantId;

use crate::batch::{Attachment, Needs};
use crate::cold::keys::YearKeys;
use crate::{Store, StoreError};

/// Time for all that one request needs of its tenant's archive.
const PATIENCE: Duration = Duration::from_secs(20);

impl Store {
    /// Loads what a request needs of its tenant's archive, in bounded time.
    pub(crate) async fn load_archived(
        &self,
        tenant: TenantId,
        needs: Needs,
        carried: &mut Attachment,
    ) -> Result<(), StoreError> {
        let loading = async {
            for year in needs.years {
                let files = self.load_keys(tenant, year).await?;
                carried
                    .keys
                    .retain(|keys| (keys.tenant, keys.year) != (tenant, year));
                carried.keys.push(Arc::new(YearKeys {
                    tenant,
                    year,
                    files,
                }));
            }
            carried.numbers.extend(self.keys_of(needs.files).await?);
            for invoice in needs.invoices {
                let found = match self.inner.cold.get() {
                    Some(archive) => archive.fetch(tenant, invoice).await?,
                    None => None,
                };
                carried.invoices.insert(invoice, found.map(Arc::new));
            }
            Ok(())
        };
        let late = |_| StoreError::Cold {
            detail: format!("it did not answer within {} s", PATIENCE.as_secs()),
        };
        tokio::time::timeout(PATIENCE, loading)
            .await
            .map_err(late)?
    }
}
