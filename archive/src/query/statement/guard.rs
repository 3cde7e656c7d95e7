//! What SQL is allowed: one statement, a query or an EXPLAIN of one, over the tenant's tables, with
//! functions that compute and nothing else.

use datafusion::prelude::SQLOptions;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{self, SetExpr, Statement as Ast};

use super::dialect::Bounded;
use crate::query::error::QueryError;
use crate::query::statement::size;

/// Bytes of a statement, at most: it is planned in memory that nobody counts.
pub const MAX_SQL_BYTES: usize = 32 * 1024;
/// How deep a statement may be nested.
const MAX_DEPTH: usize = 50;

/// A statement that may be planned.
pub(crate) struct Query {
    pub(crate) statement: Statement,
    /// Whether the answer is the plan.
    pub(crate) explain: bool,
}

/// Parses the one statement of `sql`.
///
/// # Errors
/// [`QueryError::Invalid`] for what is no SQL; [`QueryError::NotReadOnly`] for what is no single
/// query.
pub(crate) fn parse(sql: &str) -> Result<Query, QueryError> {
    if sql.len() > MAX_SQL_BYTES {
        let detail = format!("a statement may have {MAX_SQL_BYTES} bytes at most");
        return Err(QueryError::Invalid(detail));
    }
    let dialect = Bounded::default();
    let parser = DFParserBuilder::new(size::tokens(sql, &dialect)?)
        .with_dialect(&dialect)
        .with_recursion_limit(MAX_DEPTH)
        .build();
    let mut statements = parser
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|e| QueryError::of_engine(&e, 0))?;
    let one = statements.pop_front();
    let Some(statement) = one.filter(|_| statements.is_empty()) else {
        let detail = "the request needs exactly one statement";
        return Err(QueryError::NotReadOnly(detail.to_owned()));
    };
    let (asked, explain) = match &statement {
        Statement::Explain(explain) => (query_of(&explain.statement), true),
        other => (query_of(other), false),
    };
    let asked = asked.ok_or_else(|| {
        let detail = "only a query (SELECT, WITH, VALUES), or EXPLAIN of one, can be run";
        QueryError::NotReadOnly(detail.to_owned())
    })?;
    size::check(asked)?;
    Ok(Query { statement, explain })
}

/// The query that a statement is, if it is one that only reads.
fn query_of(statement: &Statement) -> Option<&ast::Query> {
    let Statement::Statement(statement) = statement else {
        return None;
    };
    let Ast::Query(query) = statement.as_ref() else {
        return None;
    };
    (query.locks.is_empty() && reads(&query.body)).then_some(query)
}

/// Whether the body, which can be a DML statement by the grammar, only reads. What is nested deeper
/// is refused by [`plan_options`].
fn reads(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => reads(&query.body),
        SetExpr::SetOperation { left, right, .. } => reads(left) && reads(right),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => false,
    }
}

/// The second look, at the plan: DDL, DML, COPY and settings are refused wherever they stand in it.
pub(crate) fn plan_options() -> SQLOptions {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_query_passes_and_nothing_else() {
        for (sql, explain) in [
            ("select 1", false),
            ("with a as (select 1) select * from a;", false),
            ("values (1)", false),
            ("(select 1) union all select 2", false),
            ("explain select 1", true),
            ("explain analyze verbose select 1", true),
        ] {
            assert_eq!(parse(sql).ok().map(|q| q.explain), Some(explain), "{sql}");
        }
        for sql in [
            "",
            ";",
            "select 1; select 2",
            "create table t as select 1",
            "create external table t stored as parquet location '/etc'",
            "copy (select 1) to '/tmp/x.csv'",
            "insert into invoices select * from invoices",
            "delete from invoices",
            "update invoices set id = '1'",
            "set datafusion.execution.batch_size = 1",
            "reset datafusion.execution.batch_size",
            "show tables",
            "show all",
            "explain create table t as select 1",
            "explain explain select 1",
            "explain copy invoices to '/tmp/x'",
            "describe invoices",
            "prepare p as select 1",
            "begin",
            "select 1 into t",
            "select * from invoices for update",
            "drop table invoices",
            "create function f() returns int return 1",
        ] {
            let refused = parse(sql).err();
            assert!(
                matches!(
                    refused,
                    Some(QueryError::NotReadOnly(_) | QueryError::Invalid(_))
                ),
                "{sql}: {refused:?}"
            );
        }
        let long = format!("select '{}'", "x".repeat(MAX_SQL_BYTES));
        assert!(matches!(parse(&long), Err(QueryError::Invalid(_))));
        let deep = format!("select {}1{}", "(".repeat(500), ")".repeat(500));
        assert!(matches!(parse(&deep), Err(QueryError::Invalid(_))));
    }
}
