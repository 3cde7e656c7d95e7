//! The statements that name a shard's own tables.
//!
//! PostgreSQL plans such a statement alone, as a generic plan, once a connection: that is what
//! makes a write cheap on Citus (docs/decisions/0009-writes-into-shards.md).

use sheaf_cluster::routing::shard::{Naming, Shard, StatementSet};

use crate::sql;

/// The tables whose shards make up a group.
const TABLES: [&str; 10] = [
    "customers",
    INVOICES,
    "invoice_lines",
    "payments",
    "events",
    "idempotency_keys",
    "number_series",
    "archive_recalls",
    NUMBER_CLAIMS,
    PROFILES,
];
/// The table whose shard names the group.
const INVOICES: &str = "invoices";
const NUMBER_CLAIMS: &str = "number_claims";
/// What a document is issued with is read there, by the statement that writes it.
const PROFILES: &str = "tenant_profiles";

/// The tables that a create goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Customers,
    Invoices,
    Lines,
    Payments,
    Events,
    Idempotency,
    /// Only of documents whose year of issue is not the year of their id.
    NumberClaims,
}

impl Table {
    /// In the order of their statements: rows that others refer to come first.
    pub(crate) const ALL: [Self; 7] = [
        Self::Customers,
        Self::Invoices,
        Self::Lines,
        Self::Payments,
        Self::Events,
        Self::Idempotency,
        Self::NumberClaims,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Invoices => "invoices",
            Self::Lines => "invoice_lines",
            Self::Payments => "payments",
            Self::Events => "events",
            Self::Idempotency => "idempotency_keys",
            Self::NumberClaims => NUMBER_CLAIMS,
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
            Self::NumberClaims => sql::NUMBER_CLAIM_COPY,
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
            Self::NumberClaims => sql::NUMBER_CLAIM_INSERT,
        }
    }
}

/// Statements that look for a batch's keys in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Find {
    Ids,
    ExternalIds,
    /// On a shard, those of `number_claims` with them.
    Numbers,
    NumberClaims,
    NumbersOfAllYears,
    Customers,
    CustomerExternalIds,
    Idempotency,
}

impl Find {
    pub(crate) const ALL: [Self; 8] = [
        Self::Ids,
        Self::ExternalIds,
        Self::Numbers,
        Self::NumberClaims,
        Self::NumbersOfAllYears,
        Self::Customers,
        Self::CustomerExternalIds,
        Self::Idempotency,
    ];

    fn table(self) -> &'static str {
        match self {
            Self::Ids | Self::ExternalIds | Self::Numbers | Self::NumbersOfAllYears => INVOICES,
            Self::NumberClaims => NUMBER_CLAIMS,
            Self::Customers | Self::CustomerExternalIds => "customers",
            Self::Idempotency => "idempotency_keys",
        }
    }

    /// On the table as a whole, which Citus routes: `... where tenant_id = $1 [and year = $2] and
    /// key = any($n)`.
    fn whole(self) -> &'static str {
        match self {
            Self::Ids => sql::INVOICE_FIND_IDS,
            Self::ExternalIds => sql::INVOICE_FIND_EXTERNAL_IDS,
            Self::Numbers => sql::INVOICE_FIND_NUMBERS,
            Self::NumberClaims => sql::NUMBER_CLAIM_FIND,
            Self::NumbersOfAllYears => sql::INVOICE_FIND_NUMBERS_OF_ALL_YEARS,
            Self::Customers => sql::CUSTOMER_FIND_IDS,
            Self::CustomerExternalIds => sql::CUSTOMER_FIND_EXTERNAL_IDS,
            Self::Idempotency => sql::IDEMPOTENCY_FIND,
        }
    }

    /// On the shard's own table, in a transaction that holds the shard; else on the table as a
    /// whole.
    pub(crate) fn on(self, shard: Option<&Shard>) -> &str {
        shard.map_or_else(|| self.whole(), |shard| shard.text(FINDS + self as usize))
    }

    /// What tells all numbers that are taken in a year.
    pub(crate) fn of_numbers(shard: Option<&Shard>) -> &'static [Self] {
        match shard {
            Some(shard) if shard.is_direct() => &[Self::Numbers],
            _ => &[Self::Numbers, Self::NumberClaims],
        }
    }

    /// On the tables that `name` names, key by key: of a list, a plan that was made before the
    /// table had statistics reads all that the tenant has
    /// (docs/decisions/0010-index-of-metadata.md). `offset 0` keeps PostgreSQL from making a join
    /// of it, which it could enter from the other side; Citus does not plan it without parameters.
    fn key_by_key(self, name: impl Fn(&str) -> String) -> String {
        let (list, keys) = match self {
            Self::Ids => ("$3", "uuid[]"),
            Self::Customers => ("$2", "uuid[]"),
            Self::ExternalIds | Self::Numbers | Self::NumberClaims => ("$3", "text[]"),
            Self::CustomerExternalIds | Self::Idempotency | Self::NumbersOfAllYears => {
                ("$2", "text[]")
            }
        };
        let one = |find: Self| {
            read_on(find.whole(), find.table(), &name(find.table()))
                .replace(&format!("= any({list})"), "= wanted.key")
        };
        let one = match self {
            Self::Numbers => one(self) + "union all\n" + &one(Self::NumberClaims),
            _ => one(self),
        };
        // The comments stay in front: the first of them names the statement.
        let (comments, one) = one.split_at(one.find("\nselect ").map_or(0, |end| end + 1));
        format!(
            "{comments}select found.* from unnest({list}::{keys}) as wanted (key) cross join \
             lateral (\n{one}offset 0\n) as found"
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
    GiveUpNumber,
    RestoreEvents,
    Recall,
    /// The version of the tenant's profile.
    Profile,
}

impl Statement {
    const ALL: [Self; 12] = [
        Self::LockInvoices,
        Self::Lines,
        Self::Payments,
        Self::UpdateInvoice,
        Self::DeleteLines,
        Self::EnsureSeries,
        Self::LockSeries,
        Self::NextNumber,
        Self::GiveUpNumber,
        Self::RestoreEvents,
        Self::Recall,
        Self::Profile,
    ];

    fn table(self) -> &'static str {
        match self {
            Self::LockInvoices | Self::UpdateInvoice => INVOICES,
            Self::Lines | Self::DeleteLines => "invoice_lines",
            Self::Payments => "payments",
            Self::EnsureSeries | Self::LockSeries | Self::NextNumber => "number_series",
            Self::GiveUpNumber => NUMBER_CLAIMS,
            Self::RestoreEvents => "events",
            Self::Recall => "archive_recalls",
            Self::Profile => PROFILES,
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
            Self::GiveUpNumber => sql::NUMBER_CLAIM_DELETE.replace("{table}", name),
            Self::RestoreEvents => sql::EVENT_RESTORE.replace("{table}", name),
            Self::Recall => sql::ARCHIVE_RECALL_RECORD.replace("{table}", name),
            Self::Profile => read(sql::PROFILE_VERSION),
        }
    }
}

/// A read of the whole table as one of the table called `name`.
fn read_on(whole: &str, table: &str, name: &str) -> String {
    whole.replace(&format!("from {table}\n"), &format!("from {name}\n"))
}

/// Where the statements of each kind begin.
const INSERTS: usize = 0;
const FINDS: usize = INSERTS + Table::ALL.len();
const STATEMENTS_OF_CHANGES: usize = FINDS + Find::ALL.len();
const COLLISIONS: usize = STATEMENTS_OF_CHANGES + Statement::ALL.len();

/// All of them, as a shard keeps them.
pub(crate) const STATEMENTS: StatementSet = StatementSet {
    tables: &TABLES,
    named_by: INVOICES,
    make,
};

fn make(direct: bool, name: Naming<'_>) -> Vec<String> {
    let find = |find: Find| match direct {
        true => find.key_by_key(name),
        false => find.whole().to_owned(),
    };
    let inserts = Table::ALL.map(|table| {
        let insert = table.insert().replace("{table}", &name(table.name()));
        insert.replace("{profiles}", &name(PROFILES))
    });
    let finds = Find::ALL.map(find);
    let statements = Statement::ALL.map(|statement| statement.on(&name(statement.table())));
    let collisions = sql::NUMBER_CLAIM_COLLISIONS
        .replace(" number_claims c", &format!(" {} c", name(NUMBER_CLAIMS)))
        .replace(" invoices i", &format!(" {} i", name(INVOICES)));
    let all = inserts.into_iter().chain(finds).chain(statements);
    all.chain([collisions]).collect()
}

/// A shard's statements by what they do.
pub(crate) trait OnShard {
    /// Writes rows into the table.
    fn insert(&self, table: Table) -> &str;
    /// A statement of changes.
    fn statement(&self, statement: Statement) -> &str;
    /// `number_claim/collisions`.
    fn collisions(&self) -> &str;
}

impl OnShard for Shard {
    fn insert(&self, table: Table) -> &str {
        self.text(INSERTS + table as usize)
    }

    fn statement(&self, statement: Statement) -> &str {
        self.text(STATEMENTS_OF_CHANGES + statement as usize)
    }

    fn collisions(&self) -> &str {
        self.text(COLLISIONS)
    }
}
