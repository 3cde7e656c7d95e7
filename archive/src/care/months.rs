//! Catalog and listing of a tenant side by side, month by month: both are ordered by month, so that
//! memory is bounded by one month's files, whatever the tenant has.

use std::collections::{HashSet, VecDeque};

use sheaf_model::{Period, TenantId};
use sheaf_store::{ArchiveFile, FileState, Store};

use crate::ArchiveError;
use crate::object::key;
use crate::object::storage::{ColdStorage, ObjectInfo};

/// Catalog rows that are read at once.
pub(crate) const FILE_PAGE: usize = 500;

/// All states of a catalog row.
pub(crate) const ANY_STATE: [FileState; 4] = [
    FileState::Staged,
    FileState::Published,
    FileState::Superseded,
    FileState::Garbage,
];

/// Catalog rows of a tenant, page by page, by (period, part, generation).
pub(crate) struct Files<'a> {
    store: &'a Store,
    tenant: TenantId,
    states: &'a [FileState],
    after: Option<(Period, i32, i32)>,
    page: VecDeque<ArchiveFile>,
    done: bool,
}

impl<'a> Files<'a> {
    pub(crate) fn new(store: &'a Store, tenant: TenantId, states: &'a [FileState]) -> Self {
        Self {
            store,
            tenant,
            states,
            after: None,
            page: VecDeque::new(),
            done: false,
        }
    }

    async fn peek(&mut self) -> Result<Option<&ArchiveFile>, ArchiveError> {
        if self.page.is_empty() && !self.done {
            let page = self
                .store
                .archive_files(self.tenant, self.states, self.after, FILE_PAGE)
                .await?;
            self.done = page.len() < FILE_PAGE;
            self.after = page.last().map(|f| (f.period, f.part, f.generation));
            self.page = page.into();
        }
        Ok(self.page.front())
    }

    /// All rows of the next month that has any; empty at the end. A year's own come before those of
    /// its months.
    pub(crate) async fn next_month(&mut self) -> Result<Vec<ArchiveFile>, ArchiveError> {
        match self.peek().await?.map(|file| file.period) {
            Some(period) => self.while_of(|file| file.period == period).await,
            None => Ok(Vec::new()),
        }
    }

    /// All rows of the next year that has any; empty at the end.
    pub(crate) async fn next_year(&mut self) -> Result<Vec<ArchiveFile>, ArchiveError> {
        match self.peek().await?.map(|file| file.period.year) {
            Some(year) => self.while_of(|file| file.period.year == year).await,
            None => Ok(Vec::new()),
        }
    }

    /// All rows that are left.
    pub(crate) async fn all(&mut self) -> Result<Vec<ArchiveFile>, ArchiveError> {
        self.while_of(|_| true).await
    }

    async fn while_of(
        &mut self,
        is_wanted: impl Fn(&ArchiveFile) -> bool,
    ) -> Result<Vec<ArchiveFile>, ArchiveError> {
        let mut files = Vec::new();
        while self.peek().await?.is_some_and(&is_wanted) {
            files.extend(self.page.pop_front());
        }
        Ok(files)
    }
}

/// One month of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Month {
    /// Its catalog rows, by part and generation.
    pub(crate) files: Vec<ArchiveFile>,
    /// Its objects.
    pub(crate) objects: Vec<ObjectInfo>,
}

impl Month {
    /// Objects that no catalog row names.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = &ObjectInfo> {
        let known: HashSet<&str> = self.files.iter().map(|f| f.object_key.as_str()).collect();
        self.objects
            .iter()
            .filter(move |object| !known.contains(object.key.as_str()))
    }
}

/// The months of a tenant, in order, each with its catalog rows and objects.
pub(crate) struct Months<'a> {
    store: &'a Store,
    storage: &'a dyn ColdStorage,
    tenant: TenantId,
    prefix: String,
    files: Files<'a>,
    objects: VecDeque<ObjectInfo>,
    from: Option<String>,
    listed: bool,
}

impl<'a> Months<'a> {
    pub(crate) fn new(store: &'a Store, storage: &'a dyn ColdStorage, tenant: TenantId) -> Self {
        Self {
            store,
            storage,
            tenant,
            prefix: key::tenant_prefix(tenant),
            files: Files::new(store, tenant, &ANY_STATE),
            objects: VecDeque::new(),
            from: None,
            listed: false,
        }
    }

    async fn peek(&mut self) -> Result<Option<&ObjectInfo>, ArchiveError> {
        while self.objects.is_empty() && !self.listed {
            let page = self
                .storage
                .list(&self.prefix, self.from.as_deref())
                .await?;
            self.objects = page.objects.into();
            self.from = page.next;
            self.listed = self.from.is_none();
        }
        Ok(self.objects.front())
    }

    /// The next month that has rows or objects. An object whose key has not the layout's form comes
    /// as a month of its own.
    pub(crate) async fn next(&mut self) -> Result<Option<Month>, ArchiveError> {
        let file = self.files.peek().await?.map(|file| file.period);
        let object = self
            .peek()
            .await?
            .map(|object| key::place_of_key(&object.key).map(|(_, period, ..)| period));
        let period = match (file, object) {
            (_, Some(None)) => {
                let objects = self.objects.pop_front().into_iter().collect();
                return Ok(Some(Month {
                    files: Vec::new(),
                    objects,
                }));
            }
            (None, None) => return Ok(None),
            (Some(file), Some(Some(object))) => file.min(object),
            (Some(period), None) | (None, Some(Some(period))) => period,
        };
        let of_month = |object: &ObjectInfo| {
            key::place_of_key(&object.key).is_some_and(|(_, p, ..)| p == period)
        };
        let mut objects = Vec::new();
        while self.peek().await?.is_some_and(of_month) {
            objects.extend(self.objects.pop_front());
        }
        let files = self.files.while_of(|file| file.period == period).await?;
        Ok(Some(Month { files, objects }))
    }

    /// Whether the catalog, read again, names no row for the key: what was added since the month
    /// was read is no orphan.
    pub(crate) async fn is_orphan(&self, key: &str) -> Result<bool, ArchiveError> {
        let Some((tenant, period, part, generation)) = key::place_of_key(key) else {
            return Ok(true);
        };
        if tenant != self.tenant {
            return Ok(true);
        }
        let after = Some((period, part, generation - 1));
        let next = self
            .store
            .archive_files(tenant, &ANY_STATE, after, 1)
            .await?;
        Ok(next.first().is_none_or(|file| file.object_key != key))
    }
}
