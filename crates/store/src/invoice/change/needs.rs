//! The numbers that a batch may need, and the locks under which it looks for them.

use std::sync::Arc;

use sheaf_model::invoice::lifecycle;
use sheaf_model::{Invoice, Kind, TenantId, id};

use super::apply::Work;
use super::attempt::Keyed;
use super::command::{Command, NewChange};
use crate::invoice::number::{Locks, lock_of, year_of};
use crate::setting::number_series::{INVOICE, NOTE, Needs, TenantNeeds};
use sheaf_cluster::routing::Cluster;
use sheaf_cluster::routing::shard::Shard;

/// What one change needs a number for.
struct Wanted<'a> {
    shard: &'a Arc<Shard>,
    /// Of the document's id, and of its issue.
    years: (i16, i16),
    of: Source<'a>,
}

enum Source<'a> {
    Series(&'static str),
    /// The document has one, which its year of issue has not seen.
    Own(&'a str),
}

/// What the batch may need, by tenant; and the locks of it.
pub(super) fn needs(cluster: &Cluster, work: &Work, changes: &[NewChange]) -> (Needs, Locks) {
    let (mut needs, mut locks) = (Needs::new(), Locks::default());
    for change in changes {
        let Some(wanted) = wanted(work, change) else {
            continue;
        };
        let (id_year, year) = wanted.years;
        let of_tenant = needs
            .entry(change.tenant_id)
            .or_insert_with(|| TenantNeeds::new(wanted.shard));
        match wanted.of {
            Source::Series(series) => {
                let need = of_tenant.series.entry((series, year)).or_default();
                need.count += 1;
                // Unique in both.
                need.years.extend([id_year, year]);
            }
            Source::Own(number) => {
                of_tenant.own.insert((year, number.to_owned()));
            }
        }
        // A row that no index knows of may be written.
        locks.add(lock_of(cluster, change.tenant_id), id_year != year);
    }
    (needs, locks)
}

fn wanted<'a>(work: &'a Work, change: &NewChange) -> Option<Wanted<'a>> {
    let doc = work.docs.get(&(change.tenant_id, change.invoice_id))?;
    let draft: &Invoice = &doc.new;
    let (years, of) = match &change.command {
        Command::Issue { issue_date, .. } => {
            let day = lifecycle::issue_date(draft, *issue_date, change.now);
            let years = (id::year_of(draft.id), year_of(day));
            let of = match &draft.number {
                None => Source::Series(match draft.kind {
                    Kind::Invoice => INVOICE,
                    Kind::CreditNote => NOTE,
                }),
                // It is taken in the year of the id already.
                Some(_) if years.0 == years.1 => return None,
                Some(number) => Source::Own(number),
            };
            (years, of)
        }
        Command::Credit(request) => {
            // The credit note's id is of today.
            let today = change.now.date_naive();
            let day = lifecycle::credit_date(draft, request.issue_date, change.now);
            ((year_of(today), year_of(day)), Source::Series(NOTE))
        }
        _ => return None,
    };
    let shard = &doc.shard;
    Some(Wanted { shard, years, of })
}

/// Years whose keys the batch relies on.
pub(super) fn keyed(needs: &Needs) -> Keyed {
    let years = |needs: &TenantNeeds| needs.years();
    needs
        .iter()
        .map(|(tenant, n): (&TenantId, _)| (*tenant, years(n)))
        .collect()
}
