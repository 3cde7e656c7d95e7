//! The demo tenant of `sheaf up`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sheaf_store::Store;

use crate::client::Client;
use crate::client::tenant;
use crate::error::{Error, Result};
use crate::up::envfile;

const EXTERNAL_ID: &str = "demo";
const FILE: &str = "demo.json";

/// The tenant and its API key. Only the key's hash is in the database, so the key is kept beside
/// it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Demo {
    pub(crate) tenant_id: String,
    pub(crate) api_key: String,
}

/// Finds the demo tenant with its key, or makes what is missing. The API must be running at `url`.
pub(crate) async fn find_or_create(
    data_dir: &Path,
    store: &Store,
    url: &str,
    admin_key: &str,
) -> Result<Demo> {
    let path = data_dir.join(FILE);
    let names = [EXTERNAL_ID.to_owned()];
    let found = store.tenants_by_external_id(&names, true).await?;
    let tenant_id = found
        .get(EXTERNAL_ID)
        .map(ToString::to_string)
        .ok_or_else(|| Error::new("the demo tenant could not be made"))?;
    let kept: Option<Demo> = std::fs::read(&path)
        .ok()
        .and_then(|content| serde_json::from_slice(&content).ok());
    if let Some(demo) = kept.filter(|demo| demo.tenant_id == tenant_id) {
        // A key that was revoked is replaced.
        if Client::new(url, &demo.api_key)?
            .status("v1/invoices?limit=1")
            .await?
            != 401
        {
            return Ok(demo);
        }
    }
    let admin = Client::new(url, admin_key)?;
    let api_key = tenant::create_key(&admin, &tenant_id, "sheaf up").await?;
    let demo = Demo { tenant_id, api_key };
    let content = serde_json::to_string(&demo).map_err(|error| Error::new(error.to_string()))?;
    envfile::write_private(&path, &content)?;
    Ok(demo)
}
