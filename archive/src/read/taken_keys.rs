//! What archived periods hold, for uniqueness of ids, external ids and numbers across both tiers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sheaf_model::TenantId;
use sheaf_store::{
    ArchiveFile, ClusterError, ColdInvoice, ColdKeys, FileKeys, Store, StoreError, WeakStore,
};
use uuid::Uuid;

use crate::ArchiveError;
use crate::file::row_group::RowGroupData;
use crate::file::schema::KEY_COLUMNS;
use crate::object::cache::{ByteCache, Objects, Sized64, byte_cache};
use crate::object::purpose::ReadKind;
use crate::read::point::ColdReader;

/// Memory for keys, in bytes.
pub const KEY_CACHE_BYTES: u64 = 64 * 1024 * 1024;

struct Entry {
    keys: Arc<FileKeys>,
    bytes: u64,
}

impl Sized64 for Entry {
    fn size(&self) -> u64 {
        self.bytes
    }
}

/// [`ColdKeys`] from the key columns of the files themselves.
pub(crate) struct ArchivedKeys {
    objects: Arc<Objects>,
    cache: ByteCache<Arc<str>, Entry>,
    /// The store holds this: the other way round it must not.
    store: WeakStore,
}

impl ArchivedKeys {
    pub(crate) fn new(store: &Store, objects: Arc<Objects>) -> Self {
        Self {
            objects,
            store: store.downgrade(),
            cache: byte_cache(KEY_CACHE_BYTES, 1024 * 1024),
        }
    }

    async fn read(&self, file: &ArchiveFile) -> Result<Arc<Entry>, ArchiveError> {
        let footer = self.objects.footer(file).await?;
        let rows = footer
            .row_groups
            .iter()
            .map(|row_group| row_group.rows)
            .sum();
        let mut keys = FileKeys {
            ids: HashSet::with_capacity(rows),
            external_ids: HashMap::new(),
            numbers: HashMap::new(),
        };
        let mut text = 0;
        for row_group in 0..footer.row_groups.len() {
            // They come first, and nothing is between them.
            let range = footer.column_range(row_group, &KEY_COLUMNS)?;
            let base = range.start;
            let bytes = self.objects.chunks(&footer, row_group, range).await?;
            let data = RowGroupData::new(footer.clone(), row_group, bytes, base);
            (keys, text) = tokio::task::spawn_blocking(move || {
                data.keys(|id, external_id, number| {
                    keys.ids.insert(id);
                    if let Some(external_id) = external_id {
                        text += external_id.len();
                        keys.external_ids.insert(external_id.into(), id);
                    }
                    if let Some(number) = number {
                        text += number.len();
                        keys.numbers.insert(number.into(), id);
                    }
                })
                .map(|()| (keys, text))
            })
            .await??;
        }
        // A set's slot takes the id and a control byte, a map's the text's pointer and length as
        // well; up to half of the slots are empty.
        let slots = keys.ids.capacity() * 17
            + (keys.external_ids.capacity() + keys.numbers.capacity()) * 33;
        let bytes = (slots * 8 / 7 + text) as u64;
        Ok(Arc::new(Entry {
            keys: Arc::new(keys),
            bytes,
        }))
    }
}

impl ColdKeys for ArchivedKeys {
    fn load<'a>(
        &'a self,
        file: &'a ArchiveFile,
    ) -> BoxFuture<'a, Result<Arc<FileKeys>, StoreError>> {
        async move {
            let key: Arc<str> = Arc::from(file.object_key.as_str());
            let entry = self
                .cache
                .get_or_insert_async(
                    &key,
                    // Only where it is read there is a span of it.
                    Box::pin(async { ReadKind::Keys.scope(self.read(file)).await }),
                )
                .await?;
            Ok(entry.keys.clone())
        }
        .boxed()
    }

    fn cached(&self, file: &ArchiveFile) -> Option<Arc<FileKeys>> {
        let entry = self.cache.get(file.object_key.as_str())?;
        Some(entry.keys.clone())
    }

    fn fetch<'a>(
        &'a self,
        tenant: TenantId,
        id: Uuid,
    ) -> BoxFuture<'a, Result<Option<ColdInvoice>, StoreError>> {
        async move {
            let store = self
                .store
                .upgrade()
                .ok_or_else(|| ClusterError::Unavailable {
                    detail: "the store is closing".into(),
                })?;
            let reader = ColdReader::new(store, Arc::clone(&self.objects));
            Ok(reader.fetch(tenant, id).await?)
        }
        .boxed()
    }
}
