//! Where a batch is written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};

use crate::routing::shard::Shard;
use crate::sql;
use crate::transaction::{BEGIN_BATCH, BEGIN_ROUTED};

/// Whose transaction a batch is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The batch's own: begun and committed with it.
    Own,
    /// One that is open already, and stays open.
    Open,
}

impl Frame {
    /// Runs a statement that begins or ends the batch's own transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run(self, conn: &Object, statement: &str) -> Result<(), Error> {
        match self {
            Self::Own => conn.batch_execute(statement).await,
            Self::Open => Ok(()),
        }
    }
}

/// Where a batch is written.
pub struct Place<'a> {
    /// A connection to its node.
    pub conn: &'a Object,
    /// Whose transaction it is.
    pub frame: Frame,
    /// The shard of each item.
    pub shards: &'a [Arc<Shard>],
    /// Straight into the tables of these shards, which are on this node; else by COPY, which Citus
    /// routes.
    pub direct: bool,
    /// Set once the commit is on its way: from then on a lost connection may have taken its answer
    /// along.
    pub committing: &'a AtomicBool,
    /// Set where it was a shard that was not to be held.
    pub shard_locked: &'a AtomicBool,
    /// Whether the work of other tenants waits for this batch: what takes long has to leave it.
    pub in_company: bool,
}

/// The statement that keeps a batch's shards where they are, ready to be sent.
pub struct Hold {
    statement: Statement,
    shards: Vec<i64>,
}

impl Place<'_> {
    /// What keeps the shards where they are; none where nothing is written into shards' tables.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prepare_hold(&self, citus: bool) -> Result<Option<Hold>, Error> {
        if !(self.direct && citus) {
            return Ok(None);
        }
        let statement = self.conn.prepare_cached(sql::CLUSTER_HOLD_SHARDS).await?;
        // In ascending order, so that two batches never wait for one another.
        let ids: BTreeSet<i64> = self.shards.iter().map(|s| s.id).collect();
        Ok(Some(Hold {
            statement,
            shards: ids.into_iter().collect(),
        }))
    }

    /// Begins the batch's own transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(&self) -> Result<(), Error> {
        let begin = match self.direct {
            true => BEGIN_BATCH,
            false => BEGIN_ROUTED,
        };
        self.frame.run(self.conn, begin).await
    }

    /// Keeps the shards where they are until the transaction ends.
    ///
    /// # Errors
    /// When one of them is not there, or is not to be held in time.
    pub async fn hold(&self, hold: Option<&Hold>) -> Result<(), Error> {
        if let Some(hold) = hold {
            let params: [&(dyn ToSql + Sync); 1] = [&hold.shards];
            let held = self.conn.query(&hold.statement, &params).await;
            held.inspect_err(|_| self.shard_locked.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    }

    /// Commits the batch's own transaction.
    ///
    /// # Errors
    /// When the database fails; whether it took effect is then told by the error.
    pub async fn commit(&self) -> Result<(), Error> {
        if self.frame == Frame::Own {
            self.committing.store(true, Ordering::Relaxed);
        }
        self.frame.run(self.conn, "commit").await
    }
}
