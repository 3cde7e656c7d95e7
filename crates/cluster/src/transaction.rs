//! A transaction that is steered by plain statements, so that `begin` and `commit` travel with what
//! lies between.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use deadpool_postgres::Object;
use sheaf_model::TenantId;

use crate::error::Error;
use crate::node::Node;
use crate::node::lent::{Leave, Use};

/// Begins a transaction of statements whose plan does not depend on their parameters. Left to
/// choose, PostgreSQL compares estimates of an array's length, and plans an insert of few rows anew
/// each time. A generic plan over several years' partitions looks dear enough for parallel workers,
/// whose start takes ten times as long as the few rows.
pub const BEGIN: &str = "begin; set local plan_cache_mode = force_generic_plan; \
                                set local max_parallel_workers_per_gather = 0";
/// The same for a batch, which others wait for: its rows are free soon, or it gives its place up
/// (batch/run.rs). `sheaf_hold_shards` has a bound of its own.
pub const BEGIN_BATCH: &str = "begin; set local plan_cache_mode = force_generic_plan; \
                                      set local max_parallel_workers_per_gather = 0; \
                                      set local lock_timeout = '1s'";
/// The same for statements on whole tables, which Citus routes: of some it can make no plan for any
/// parameters (`number_series/ensure`: 0A000).
pub const BEGIN_ROUTED: &str =
    "begin; set local max_parallel_workers_per_gather = 0; set local lock_timeout = '1s'";
/// The same for a read at one snapshot.
pub const BEGIN_READ: &str = "begin isolation level repeatable read read only; \
                                     set local plan_cache_mode = force_generic_plan; \
                                     set local max_parallel_workers_per_gather = 0";

/// A connection inside a transaction. One that is dropped half way is closed: it must not reach the
/// pool, where somebody else would go on in that transaction.
pub struct Session {
    conn: Option<Object>,
    /// Where it is lent; given back after the connection.
    _leave: Option<Leave>,
}

impl Session {
    /// A connection of `node`; the transaction begins with the first statement that says so.
    pub async fn open(node: &Node) -> Result<Self, Error> {
        Ok(Self {
            conn: Some(node.get().await?),
            _leave: None,
        })
    }

    /// The same on a connection that is lent for longer.
    pub async fn open_long(node: &Node, tenant: TenantId) -> Result<Self, Error> {
        let (conn, leave) = node.lend(Use::Long, tenant).await?.into_parts();
        Ok(Self {
            conn: Some(conn),
            _leave: Some(leave),
        })
    }

    /// The connection.
    ///
    /// # Errors
    /// After the end of the transaction.
    pub fn conn(&self) -> Result<&Object, Error> {
        self.conn.as_ref().ok_or_else(|| Error::Unavailable {
            detail: "the transaction has ended".into(),
        })
    }

    /// The transaction has ended: the connection goes back to its pool.
    pub fn release(mut self) {
        drop(self.conn.take());
    }

    /// Gives the transaction up.
    pub async fn rollback(self) {
        if let Ok(conn) = self.conn()
            && conn.batch_execute("rollback").await.is_ok()
        {
            self.release();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            drop(Object::take(conn));
        }
    }
}

/// Sends all statements at once, in their order, and waits for their answers; the first error in
/// their order ends it. A statement's future sends it when it is polled first. (`try_join_all`
/// promises no order.)
pub async fn in_order<F, T, E>(statements: impl IntoIterator<Item = F>) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    enum Sent<F, T> {
        Waiting(Pin<Box<F>>),
        Answered(T),
    }
    let mut waiting: Vec<Pin<Box<F>>> = statements.into_iter().map(Box::pin).collect();
    let mut sent = Vec::with_capacity(waiting.len());
    poll_fn(|cx| {
        for mut statement in waiting.drain(..) {
            sent.push(match statement.as_mut().poll(cx) {
                Poll::Ready(answer) => Sent::Answered(answer),
                Poll::Pending => Sent::Waiting(statement),
            });
        }
        Poll::Ready(())
    })
    .await;
    let mut answers = Vec::with_capacity(sent.len());
    for statement in sent {
        answers.push(match statement {
            Sent::Answered(answer) => answer?,
            Sent::Waiting(statement) => statement.await?,
        });
    }
    Ok(answers)
}
