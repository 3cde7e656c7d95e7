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

/// Statements of changes, each on one table of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// Headers, locked until the transaction ends.
    LockInvoices,
    Lines,
    Payments,
    Keys,
    UpdateInvoice,
    DeleteLines,
    EnsureSeries,
    LockSeries,
    NextNumber,
    RestoreEvents,
    Recall,
}

impl Statement {
    const ALL: [Self; 11] = [
        Self::LockInvoices,
        Self::Lines,
        Self::Payments,
        Self::Keys,
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
            Self::Keys => "idempotency_keys",
            Self::EnsureSeries | Self::LockSeries | Self::NextNumber => "number_series",
            Self::RestoreEvents => "events",
            Self::Recall => "archive_recalls",
        }
    }

    /// The statement on the table called `name`. Reads are those of the point reads.
    fn on(self, name: &str) -> String {
        let whole = format!("from {}\n", self.table());
        let here = format!("from {name}\n");
        match self {
            // In the order of the ids, so that two batches never wait for one another.
            Self::LockInvoices => {
                sql::INVOICE_GET.replace(&whole, &here) + "order by id\nfor update"
            }
            Self::Lines => sql::LINE_GET.replace(&whole, &here),
            Self::Payments => sql::PAYMENT_GET.replace(&whole, &here),
            Self::Keys => sql::IDEMPOTENCY_FIND.replace(&whole, &here),
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
    /// By [`Statement`].
    statements: [String; Statement::ALL.len()],
}

impl Shard {
    pub(crate) fn new(
        id: i64,
        min_hash: i32,
        node: NodeAddr,
        suffix: impl Fn(&str) -> String,
    ) -> Self {
        let name = |table: &str| format!("{table}{}", suffix(table));
        Self {
            id,
            min_hash,
            node,
            inserts: Table::ALL.map(|table| table.insert().replace("{table}", &name(table.name()))),
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
