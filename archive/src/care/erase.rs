//! Erasure: a customer's personal data goes from every archived invoice and its history. Files that
//! hold any are rewritten; gc collects the old objects after its grace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, TimeDelta, Utc};
use serde::Serialize;
use sheaf_model::{Customer, TenantId};
use sheaf_store::{
    ArchiveFile, Cause, CustomerError, FileState, Held, Pending, is_erased, scrub, scrub_events,
};
use uuid::Uuid;

use crate::ArchiveError;
use crate::care::months::Files;
use crate::care::rewrite::{Change, Outcome, Transform, rewrite};
use crate::file::footer::Footer;
use crate::file::row_group::RowGroupData;
use crate::file::schema::CUSTOMER_COLUMNS;
use crate::object::purpose::ReadKind;
use crate::object::storage::StorageError;
use crate::run::progress::Step;
use crate::run::{LockedRun, Run};

/// Attempts of one file that is recalled from while it is rewritten.
const ATTEMPTS: usize = 5;

/// Objects that a receipt names, at most.
const MAX_PENDING: usize = 1_000;

/// The customer to erase, and how.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// Whose customer.
    pub tenant: TenantId,
    /// The customer's record.
    pub customer_id: Uuid,
    /// Those that were merged into it: the same person.
    pub merged: Vec<Uuid>,
    /// Whether the hot tier is gone through as well: before, lest a copy with the data in it is
    /// archived meanwhile, and again after, as a recall may have brought one back. Takes the login
    /// of the tables' owner.
    pub hot: bool,
    /// The grace that gc is run with, for the receipt.
    pub grace: Duration,
    /// Whether histories of other customers' invoices are searched as well: a draft that was this
    /// customer's once names it there. Reads the `events` column of all files of the tenant.
    pub histories: bool,
    /// Years of documents that are known to be held. Those whose hold is set while this runs are
    /// found where it counts.
    pub held: Vec<Held>,
    /// The day that decides what retention holds.
    pub on: NaiveDate,
    /// Who wants it, in which request.
    pub cause: Cause,
}

/// The results of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErasureReceipt {
    /// Whose customer.
    pub tenant_id: TenantId,
    /// The customer.
    pub customer_id: Uuid,
    /// Files that were searched.
    pub files: u64,
    /// Files that were rewritten.
    pub files_rewritten: u64,
    /// Invoices whose document or history held the data.
    pub invoices: u64,
    /// Held years that hold the data.
    pub held: Vec<Held>,
    /// Objects of the tenant that are nobody's tier any more, and may hold the data until then.
    pub pending: Vec<Pending>,
}

/// One erasure.
pub(crate) struct Eraser<'a> {
    pub(crate) run: Run<'a>,
    pub(crate) erasure: Erasure,
}

impl Eraser<'_> {
    pub(crate) async fn run(&self) -> Result<ErasureReceipt, ArchiveError> {
        let locked = self.run.lock(Some(self.erasure.tenant)).await?;
        self.run.checkpoint.reached(Step::Locked).await;
        let outcome = self.both_tiers(&locked).await;
        locked.release();
        outcome
    }

    async fn both_tiers(&self, locked: &LockedRun<'_>) -> Result<ErasureReceipt, ArchiveError> {
        let known = self.erasure.held.iter().map(|held| (held.year, *held));
        let mut held: BTreeMap<i16, Held> = known.collect();
        self.erase_hot(&mut held).await?;
        let (mut receipt, mut found) = self.erase(locked, &mut held).await?;
        self.erase_hot(&mut held).await?;
        if self.erasure.hot {
            let years: Vec<i16> = held.keys().copied().collect();
            for person in self.persons() {
                let of_person = self
                    .run
                    .store
                    .hot_years_of(self.erasure.tenant, person, &years);
                found.extend(of_person.await?);
            }
        }
        held.retain(|year, _| found.contains(year));
        receipt.held = held.into_values().collect();
        Ok(receipt)
    }

    async fn erase_hot(&self, held: &mut BTreeMap<i16, Held>) -> Result<(), ArchiveError> {
        let Erasure {
            tenant,
            customer_id,
            on,
            ..
        } = self.erasure;
        if !self.erasure.hot {
            return Ok(());
        }
        let erased = self
            .run
            .store
            .erase_hot(tenant, customer_id, held, on, &self.erasure.cause);
        erased.await.map_err(|error| match error {
            CustomerError::Store(error) => error.into(),
            other => ArchiveError::InvalidRun(other.to_string()),
        })
    }

    fn persons(&self) -> impl Iterator<Item = Uuid> {
        let merged = self.erasure.merged.iter().copied();
        merged.chain([self.erasure.customer_id])
    }

    /// Goes through the archive. Also returns the years of `held` that hold the data in it.
    async fn erase(
        &self,
        locked: &LockedRun<'_>,
        held: &mut BTreeMap<i16, Held>,
    ) -> Result<(ErasureReceipt, BTreeSet<i16>), ArchiveError> {
        let tenant = self.erasure.tenant;
        let mut receipt = ErasureReceipt {
            tenant_id: tenant,
            customer_id: self.erasure.customer_id,
            files: 0,
            files_rewritten: 0,
            invoices: 0,
            held: Vec::new(),
            pending: Vec::new(),
        };
        let mut found = BTreeSet::new();
        let change = self.change();
        let mut files = Files::new(self.run.store, tenant, &[FileState::Published]);
        loop {
            let month = files.next_month().await?;
            if month.is_empty() {
                break;
            }
            for file in month {
                self.run.progress.begin(&file.object_key);
                receipt.files += 1;
                let year = file.period.year;
                let is_held = held.contains_key(&year);
                // One file of a held year is enough to know.
                if is_held && found.contains(&year) {
                    continue;
                }
                if !ReadKind::Rewrite.scope(self.holds(&file)).await? {
                    continue;
                }
                if is_held {
                    found.insert(year);
                    continue;
                }
                match rewrite_file(locked, &file, &change).await? {
                    Ok(touched) => {
                        receipt.invoices += touched;
                        receipt.files_rewritten += 1;
                    }
                    Err(hold) => {
                        held.insert(year, hold);
                        found.insert(year);
                    }
                }
            }
        }
        receipt.pending = pending_objects(self.run, tenant, self.erasure.grace).await?;
        Ok((receipt, found))
    }

    /// What happens to each row.
    fn change(&self) -> Change {
        let (persons, cause): (Vec<Uuid>, _) =
            (self.persons().collect(), self.erasure.cause.clone());
        let transform: Transform = Arc::new(move |row| {
            let scrubbed = persons.iter().map(|person| scrub(row, *person, &cause));
            scrubbed.fold(false, |any, this| any | this)
        });
        Change {
            transform,
            on: self.erasure.on,
        }
    }

    /// Whether a file holds personal data of the customer, be it in a copy that is out of date.
    async fn holds(&self, file: &ArchiveFile) -> Result<bool, ArchiveError> {
        let footer = self.run.objects.footer(file).await?;
        for row_group in 0..footer.row_groups.len() {
            if self.holds_customer(&footer, row_group).await? {
                return Ok(true);
            }
            if self.erasure.histories && self.holds_history(&footer, row_group).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn columns(
        &self,
        footer: &Arc<Footer>,
        row_group: usize,
        names: &[&str],
    ) -> Result<RowGroupData, ArchiveError> {
        let range = footer.column_range(row_group, names)?;
        let base = range.start;
        let bytes = self.run.objects.chunks(footer, row_group, range).await?;
        Ok(RowGroupData::new(
            Arc::clone(footer),
            row_group,
            bytes,
            base,
        ))
    }

    async fn holds_customer(
        &self,
        footer: &Arc<Footer>,
        row_group: usize,
    ) -> Result<bool, ArchiveError> {
        let mut persons = Vec::new();
        for person in self.persons() {
            let id = person.to_string();
            let asked = self
                .run
                .objects
                .may_hold(footer, row_group, "customer_id", &id);
            if asked.await? {
                persons.push(person);
            }
        }
        if persons.is_empty() {
            return Ok(false);
        }
        let data = self.columns(footer, row_group, &CUSTOMER_COLUMNS).await?;
        let search = move || {
            let mut found = false;
            data.customers(|of: Option<Uuid>, customer: Option<Customer>| {
                let is_theirs = of.is_some_and(|of| persons.contains(&of));
                found |= is_theirs && customer.is_some_and(|c| !is_erased(&c));
            })
            .map(|()| found)
        };
        tokio::task::spawn_blocking(search).await?
    }

    async fn holds_history(
        &self,
        footer: &Arc<Footer>,
        row_group: usize,
    ) -> Result<bool, ArchiveError> {
        let data = self.columns(footer, row_group, &["events"]).await?;
        let persons: Vec<(Uuid, String)> = self.persons().map(|id| (id, id.to_string())).collect();
        let search = move || {
            let mut found = false;
            let names = |text: &str| persons.iter().any(|(_, name)| text.contains(name));
            data.histories(names, |mut events| {
                for (id, _) in &persons {
                    found |= scrub_events(&mut events, None, *id);
                }
            })
            .map(|()| found)
        };
        tokio::task::spawn_blocking(search).await?
    }
}

/// Rewrites a file. One that took its place meanwhile is found by a rerun. Returns the invoices
/// that held the data, or that its year is held now.
async fn rewrite_file(
    run: &LockedRun<'_>,
    file: &ArchiveFile,
    change: &Change,
) -> Result<Result<u64, Held>, ArchiveError> {
    for _ in 0..ATTEMPTS {
        let files = std::slice::from_ref(file);
        match rewrite(run, files, Some(change.clone())).await? {
            Outcome::Done(done) => return Ok(Ok(done.touched)),
            Outcome::Held(held) => return Ok(Err(held)),
            Outcome::Changed => {}
        }
    }
    let detail = format!(
        "{} is recalled from all the time; ask again",
        file.object_key
    );
    Err(ArchiveError::InvalidRun(detail))
}

/// The tenant's objects that are there, and nobody's tier.
pub(crate) async fn pending_objects(
    run: Run<'_>,
    tenant: TenantId,
    grace: Duration,
) -> Result<Vec<Pending>, ArchiveError> {
    let grace = TimeDelta::from_std(grace)
        .map_err(|_| ArchiveError::InvalidRun("the grace is out of range".to_owned()))?;
    let unpublished = [FileState::Staged, FileState::Superseded, FileState::Garbage];
    let mut pending = Vec::new();
    for file in Files::new(run.store, tenant, &unpublished).all().await? {
        let since = match file.state {
            FileState::Superseded => file.superseded_at,
            FileState::Garbage => None,
            FileState::Staged | FileState::Published => Some(file.staged_at),
        };
        let until = since.and_then(|since| since.checked_add_signed(grace));
        match run.storage.head(&file.object_key).await {
            Ok(object) => pending.push(Pending {
                place: object.key,
                until: until.unwrap_or_else(Utc::now),
            }),
            Err(StorageError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Those that stay the longest: when they are gone, so are the others.
    pending.sort_by_key(|object| std::cmp::Reverse(object.until));
    pending.truncate(MAX_PENDING);
    Ok(pending)
}
