//! Declared metadata keys, as sent and as answered.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sheaf_store::MetadataColumns;
use utoipa::ToSchema;

/// Keys of `metadata` that are to be columns.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ArchiveColumnsInput)]
pub struct MetadataColumnsIn {
    /// All of them, in the order of the columns: letters, digits and underscores, in any case once.
    #[schema(max_items = 16, example = json!(["project", "cost_center"]))]
    pub metadata_keys: Vec<String>,
}

/// Keys of `metadata` that are columns.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ArchiveColumns)]
pub struct MetadataColumnsOut {
    /// In the order of the columns.
    pub metadata_keys: Vec<String>,
    /// Names of the columns, of these keys.
    pub columns: Vec<String>,
    /// Counts changes, from 1; 0 where nothing was ever declared. The ETag.
    pub version: i64,
    /// Of the last change.
    #[schema(required)]
    pub modified_at: Option<DateTime<Utc>>,
}

impl From<MetadataColumns> for MetadataColumnsOut {
    fn from(declared: MetadataColumns) -> Self {
        let column = |key: &String| sheaf_archive::file::metadata_columns::column(key);
        Self {
            columns: declared.keys.iter().map(column).collect(),
            metadata_keys: declared.keys.to_vec(),
            version: declared.version,
            modified_at: declared.modified_at,
        }
    }
}
