//! One shard of the colocation group: where it is, and the statements that name its own tables.
//!
//! A statement on a shard's table is planned by PostgreSQL alone, as a generic plan, once a
//! connection: that is what makes a write cheap on Citus
//! (docs/decisions/0009-writes-into-shards.md).

use crate::connect::NodeAddr;

/// What names a shard's own table, by the name of the table that it is a part of.
pub type Naming<'a> = &'a dyn Fn(&str) -> String;

/// The tables that are sharded together, and the statements on them.
#[derive(Clone, Copy, Debug)]
pub struct StatementSet {
    /// The tables whose shards make up a group.
    pub tables: &'static [&'static str],
    /// The table among them whose shard names the group.
    pub named_by: &'static str,
    /// The statements of a shard, on the tables that the naming gives. The first parameter says
    /// whether PostgreSQL plans statements on them alone. They are found by their places.
    pub make: fn(bool, Naming<'_>) -> Vec<String>,
}

/// One shard of the colocation group, and the node that holds it.
#[derive(Debug, PartialEq, Eq)]
pub struct Shard {
    /// Citus' id of the shard that names the whole colocated group; a lane number without Citus.
    pub id: i64,
    /// Smallest hash value, inclusive. Shards are sorted by it and cover all values.
    pub min_hash: i32,
    /// The node that holds it.
    pub node: NodeAddr,
    direct: bool,
    statements: Box<[Box<str>]>,
}

impl Shard {
    /// `suffix` tells the shard's own table from a table's name; `direct` whether PostgreSQL plans
    /// statements on it alone.
    pub fn new(
        id: i64,
        min_hash: i32,
        node: NodeAddr,
        direct: bool,
        statements: &StatementSet,
        suffix: impl Fn(&str) -> String,
    ) -> Self {
        let name = |table: &str| format!("{table}{}", suffix(table));
        let statements = (statements.make)(direct, &name);
        Self {
            id,
            min_hash,
            node,
            direct,
            statements: statements.into_iter().map(String::into_boxed_str).collect(),
        }
    }

    /// Whether PostgreSQL plans statements on its tables alone.
    #[must_use]
    #[inline]
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// The statement at this place of the [`StatementSet`].
    #[must_use]
    #[inline]
    pub fn text(&self, at: usize) -> &str {
        &self.statements[at]
    }
}
