//! One shard of the colocation group: where it is, and the statements that name its own tables.
//!
//! A statement on a shard's table is planned by PostgreSQL alone, as a generic plan, once a connection: that is what makes
//! a write cheap on Citus (docs/decisions/0009-writes-into-shards.md).

use crate::node::NodeAddr;
use crate::sql;

/// The tables whose shards make up a group.
pub(crate) const TABLES: [&str; 8] = [
    "customers",
    INVOICES,
    "invoice_lines",
    "payments",
    "events",
    "idempotency_keys",
    "number_series",
    "archive_recalls",
];
/// The table whose shard names the group.
pub(crate) const INVOICES: &str = "invoices";

/// The tables that a create goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Customers,
    Invoices,
    Lines,
    Payments,
    Events,
    Idempotency,
}

impl Table {
    /// In the order of their statements: rows that others refer to come first.
    pub(crate) const ALL: [Self; 6] = [
        Self::Customers,
        Self::Invoices,
        Self::Lines,
        Self::Payments,
        Self::Events,
        Self::Idempotency,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Invoices => "invoices",
            Self::Lines => "invoice_lines",
            Self::Payments => "payments",
            Self::Events => "events",
            Self::Idempotency => "idempotency_keys",
        }
    }

    /// The COPY of the table as a whole, which Citus routes.
    pub(crate) fn copy(self) -> &'static str {
        match self {
            Self::Customers => sql::CUSTOMER_COPY,
            Self::Invoices => sql::INVOICE_COPY,
            Self::Lines => sql::LINE_COPY,
            Self::Payments => sql::PAYMENT_COPY,
            Self::Events => sql::EVENT_COPY,
            Self::Idempotency => sql::IDEMPOTENCY_COPY,
        }
    }

    fn insert(self) -> &'static str {
        match self {
            Self::Customers => sql::CUSTOMER_INSERT,
            Self::Invoices => sql::INVOICE_INSERT,
            Self::Lines => sql::LINE_INSERT,
            Self::Payments => sql::PAYMENT_INSERT,
            Self::Events => sql::EVENT_INSERT,
            Self::Idempotency => sql::IDEMPOTENCY_INSERT,
        }
    }
}

/// Statements that look for a batch's keys in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Find {
    Ids,
    ExternalIds,
    Numbers,
    Customers,
    CustomerExternalIds,
    Idempotency,
}

impl Find {
    pub(crate) const ALL: [Self; 6] = [
        Self::Ids,
        Self::ExternalIds,
        Self::Numbers,
        Self::Customers,
        Self::CustomerExternalIds,
        Self::Idempotency,
    ];

    fn table(self) -> &'static str {
        match self {
            Self::Ids | Self::ExternalIds | Self::Numbers => INVOICES,
            Self::Customers | Self::CustomerExternalIds => "customers",
            Self::Idempotency => "idempotency_keys",
        }
    }

    /// On the table as a whole, which Citus routes: `... where tenant_id = $1 [and year = $2] and key = any($n)`.
    fn whole(self) -> &'static str {
        match self {
            Self::Ids => sql::INVOICE_FIND_IDS,
            Self::ExternalIds => sql::INVOICE_FIND_EXTERNAL_IDS,
            Self::Numbers => sql::INVOICE_FIND_NUMBERS,
            Self::Customers => sql::CUSTOMER_FIND_IDS,
            Self::CustomerExternalIds => sql::CUSTOMER_FIND_EXTERNAL_IDS,
            Self::Idempotency => sql::IDEMPOTENCY_FIND,
        }
    }

    /// On the shard's own table, in a transaction that holds the shard; else on the table as a whole.
    pub(crate) fn on(self, shard: Option<&Shard>) -> &str {
        shard.map_or_else(|| self.whole(), |shard| &shard.finds[self as usize])
    }

    /// On the table called `name`, key by key: of a list, a plan that was made before the table had statistics reads all that
    /// the tenant has (docs/decisions/0010-index-of-metadata.md). `offset 0` keeps PostgreSQL from making a join of it, which it
    /// could enter from the other side; Citus does not plan it without parameters.
    fn key_by_key(self, name: &str) -> String {
        let (list, keys) = match self {
            Self::Ids => ("$3", "uuid[]"),
            Self::Customers => ("$2", "uuid[]"),
            Self::ExternalIds | Self::Numbers => ("$3", "text[]"),
            Self::CustomerExternalIds | Self::Idempotency => ("$2", "text[]"),
        };
        let one = read_on(self.whole(), self.table(), name)
            .replace(&format!("= any({list})"), "= wanted.key");
        // The comments stay in front: the first of them names the statement.
        let (comments, one) = one.split_at(one.find("\nselect ").map_or(0, |end| end + 1));
        format!(
            "{comments}select found.* from unnest({list}::{keys}) as wanted (key) cross join lateral (\n{one}offset 0\n) as found"
        )
    }
}

/// Statements of changes, each on one table of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// Headers, locked until the transaction ends.
    LockInvoices,
    Lines,
    Payments,
    UpdateInvoice,
    DeleteLines,
    EnsureSeries,
    LockSeries,
    NextNumber,
    RestoreEvents,
    Recall,
}

impl Statement {
    const ALL: [Self; 10] = [
        Self::LockInvoices,
        Self::Lines,
        Self::Payments,
        Self::UpdateInvoice,
        Self::DeleteLines,
        Self::EnsureSeries,
        Self::LockSeries,
        Self::NextNumber,
        Self::RestoreEvents,
        Self::Recall,
    ];

    fn table(self) -> &'static str {
        match self {
            Self::LockInvoices | Self::UpdateInvoice => INVOICES,
            Self::Lines | Self::DeleteLines => "invoice_lines",
            Self::Payments => "payments",
            Self::EnsureSeries | Self::LockSeries | Self::NextNumber => "number_series",
            Self::RestoreEvents => "events",
            Self::Recall => "archive_recalls",
        }
    }

    /// The statement on the table called `name`. Reads are those of the point reads.
    fn on(self, name: &str) -> String {
        let read = |whole| read_on(whole, self.table(), name);
        match self {
            // In the order of the ids, so that two batches never wait for one another.
            Self::LockInvoices => read(sql::INVOICE_GET) + "order by id\nfor update",
            Self::Lines => read(sql::LINE_GET),
            Self::Payments => read(sql::PAYMENT_GET),
            Self::UpdateInvoice => sql::INVOICE_UPDATE.replace("{table}", name),
            Self::DeleteLines => sql::LINE_DELETE.replace("{table}", name),
            Self::EnsureSeries => sql::NUMBER_SERIES_ENSURE.replace("{table}", name),
            Self::LockSeries => sql::NUMBER_SERIES_LOCK.replace("{table}", name),
            Self::NextNumber => sql::NUMBER_SERIES_NEXT.replace("{table}", name),
            Self::RestoreEvents => sql::EVENT_RESTORE.replace("{table}", name),
            Self::Recall => sql::ARCHIVE_RECALL_RECORD.replace("{table}", name),
        }
    }
}

/// A read of the whole table as one of the table called `name`.
fn read_on(whole: &str, table: &str, name: &str) -> String {
    whole.replace(&format!("from {table}\n"), &format!("from {name}\n"))
}

/// One shard of the colocation group, and the node that holds it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Citus' id of the `invoices` shard, which names the whole colocated group; a lane number without Citus.
    pub(crate) id: i64,
    /// Smallest hash value, inclusive. Shards are sorted by it and cover all values.
    pub(crate) min_hash: i32,
    pub(crate) node: NodeAddr,
    /// The statements that write into the shard's own tables, by [`Table`].
    inserts: [String; Table::ALL.len()],
    /// By [`Find`].
    finds: [String; Find::ALL.len()],
    /// By [`Statement`].
    statements: [String; Statement::ALL.len()],
}

impl Shard {
    /// `suffix` tells the shard's own table from a table's name; `direct` whether PostgreSQL plans statements on it alone.
    pub(crate) fn new(
        id: i64,
        min_hash: i32,
        node: NodeAddr,
        direct: bool,
        suffix: impl Fn(&str) -> String,
    ) -> Self {
        let name = |table: &str| format!("{table}{}", suffix(table));
        let find = |find: Find| {
            if direct {
                find.key_by_key(&name(find.table()))
            } else {
                find.whole().to_owned()
            }
        };
        Self {
            id,
            min_hash,
            node,
            inserts: Table::ALL.map(|table| table.insert().replace("{table}", &name(table.name()))),
            finds: Find::ALL.map(find),
            statements: Statement::ALL.map(|statement| statement.on(&name(statement.table()))),
        }
    }

    pub(crate) fn insert(&self, table: Table) -> &str {
        &self.inserts[table as usize]
    }

    pub(crate) fn statement(&self, statement: Statement) -> &str {
        &self.statements[statement as usize]
    }
}
