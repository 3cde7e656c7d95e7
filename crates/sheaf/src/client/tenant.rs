//! `sheaf tenant`, through the HTTP API.

use serde_json::{Value, json};

use crate::cli::TenantCreateArgs;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::terminal::output;

/// Makes a tenant and its first API key, and prints both.
pub(crate) async fn create(args: &TenantCreateArgs) -> Result<()> {
    let client = Client::new(&args.api.url, args.api.admin_key()?)?;
    let mut tenant = json!({"name": args.name});
    if let Some(external_id) = &args.external_id {
        tenant["external_id"] = json!(external_id);
    }
    let tenant = client.post_json("v1/tenants", &tenant).await?;
    let id = member(&tenant, "id")?;
    let api_key = create_key(&client, id, "default").await?;
    let made = json!({
        "tenant_id": id,
        "name": tenant["name"],
        "external_id": tenant["external_id"],
        "api_key": api_key,
    });
    output::print(&made, args.output.output)
}

/// Makes an API key of role admin.
pub(crate) async fn create_key(client: &Client, tenant: &str, name: &str) -> Result<String> {
    let path = format!("v1/tenants/{tenant}/api-keys");
    let key = client
        .post_json(&path, &json!({"name": name, "role": "admin"}))
        .await?;
    member(&key, "api_key").map(str::to_owned)
}

fn member<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    value[name]
        .as_str()
        .ok_or_else(|| Error::new(format!("the server's answer has no {name}")))
}
