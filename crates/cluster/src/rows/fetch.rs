//! Rows up to a number of bytes. Of how many rows there are a `limit` can say enough, of how long
//! they are nothing: an event or a line may have a few bytes or some thousands.

use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

/// What a statement gave.
pub struct Fetched {
    /// The first of its rows.
    pub rows: Vec<Row>,
    /// Whether more rows were left: they were not taken from the connection into memory.
    pub cut: bool,
}

/// Boxed: the driver's own future is generic over the parameters, and what is spawned could not
/// hold it.
type Fetching<'a> = BoxFuture<'a, Result<Fetched, Error>>;

/// The first rows of a statement that have `bytes` together, but never none where there is one.
///
/// What is left is dropped as it arrives: the driver keeps one message of an answer that nobody
/// reads any more.
pub fn fetch<'a>(
    client: &'a Client,
    statement: &'a Statement,
    params: &'a [&'a (dyn ToSql + Sync)],
    bytes: usize,
) -> Fetching<'a> {
    fetch_of(client, statement, params, bytes, |_| true)
}

/// The same of the rows that `is_wanted`; the others are passed over.
pub fn fetch_of<'a>(
    client: &'a Client,
    statement: &'a Statement,
    params: &'a [&'a (dyn ToSql + Sync)],
    bytes: usize,
    mut is_wanted: impl FnMut(&Row) -> bool + Send + 'a,
) -> Fetching<'a> {
    Box::pin(async move {
        let sent = client.query_raw(statement, params.iter().copied());
        let mut stream = std::pin::pin!(sent.await?);
        let (mut rows, mut taken): (Vec<Row>, usize) = (Vec::new(), 0);
        while let Some(row) = stream.try_next().await? {
            if !is_wanted(&row) {
                continue;
            }
            taken = taken.saturating_add(row.raw_size_bytes());
            if taken > bytes && !rows.is_empty() {
                return Ok(Fetched { rows, cut: true });
            }
            rows.push(row);
        }
        Ok(Fetched { rows, cut: false })
    })
}
