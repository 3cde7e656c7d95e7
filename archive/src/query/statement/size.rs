//! How large a statement is, before it is planned: planning can neither be interrupted nor bounded
//! from outside, and every reference to a common table expression stands for all of it, so that n
//! of them can stand for 2^n scans.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableFactor,
    Visit, Visitor,
};
use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::query::error::QueryError;

/// Words, numbers, texts and signs of a statement, at most. The parser makes a tree of them that is
/// as deep as they are many, and takes it down by recursion.
const MAX_TOKENS: usize = 10_000;
/// Types within types, such as `int[][]`, at most: the parser reads them by recursion, and counts
/// no levels.
const MAX_NESTED_TYPES: usize = 20;
/// Levels of an expression, at most. `1 + 1 + 1` has two.
const MAX_LEVELS: usize = 250;
/// Tables, subqueries and branches of unions, at most, common table expressions counted as often as
/// they are named.
const MAX_RELATIONS: u64 = 64;
/// Expressions, at most, counted likewise.
const MAX_EXPRESSIONS: u64 = 20_000;
/// Columns that `*` stands for, of one table.
const STAR: u64 = 48;
/// Sets by which one query may group.
const MAX_GROUPING_SETS: u64 = 64;

fn complex(detail: String) -> QueryError {
    QueryError::Complex(detail)
}

/// The tokens of a statement that may be parsed.
pub(crate) fn tokens(sql: &str, dialect: &dyn Dialect) -> Result<Vec<TokenWithSpan>, QueryError> {
    let tokens = Tokenizer::new(dialect, sql).tokenize_with_location();
    let tokens = tokens.map_err(|e| QueryError::Invalid(e.to_string()))?;
    let meant = || {
        let all = tokens.iter().map(|token| &token.token);
        all.filter(|token| !matches!(token, Token::Whitespace(_)))
    };
    let count = meant().count();
    if count > MAX_TOKENS {
        return Err(complex(format!(
            "the statement has {count} words and signs; {MAX_TOKENS} may be"
        )));
    }
    let nested = meant()
        .zip(meant().skip(1))
        .filter(|pair| opens_type(*pair));
    if nested.count() > MAX_NESTED_TYPES {
        return Err(complex(format!(
            "the statement has more than {MAX_NESTED_TYPES} types of lists and structs"
        )));
    }
    Ok(tokens)
}

/// Whether a type begins here that has another one inside.
fn opens_type((first, second): (&Token, &Token)) -> bool {
    let list = *first == Token::LBracket && *second == Token::RBracket;
    let named = matches!(first, Token::Word(word) if matches!(
        word.keyword,
        Keyword::ARRAY
            | Keyword::STRUCT
            | Keyword::MAP
            | Keyword::NESTED
            | Keyword::NULLABLE
            | Keyword::LOWCARDINALITY
            | Keyword::TUPLE
            | Keyword::UNION
    ));
    list || named && matches!(second, Token::Lt | Token::LParen)
}

/// Refuses a statement that stands for more than may be planned.
pub(crate) fn check(statement: &impl Visit) -> Result<(), QueryError> {
    let mut sizes = Sizes::default();
    match statement.visit(&mut sizes) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(detail) => Err(complex(detail)),
    }
}

/// What a query stands for.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    relations: u64,
    expressions: u64,
}

impl Size {
    fn add(&mut self, other: Size) {
        self.relations = self.relations.saturating_add(other.relations);
        self.expressions = self.expressions.saturating_add(other.expressions);
    }
}

/// A common table expression: its name, its query by address, and how large it is once that is
/// known.
struct Named {
    name: String,
    query: usize,
    size: Option<Size>,
}

/// A query that is being visited.
#[derive(Default)]
struct Level {
    named: Vec<Named>,
    recursive: bool,
    size: Size,
}

/// Adds sizes up, from the innermost query outwards.
#[derive(Default)]
struct Sizes {
    levels: Vec<Level>,
    depth: usize,
}

fn address(query: &Query) -> usize {
    std::ptr::from_ref(query).addr()
}

/// As the planner compares names.
fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_ascii_lowercase(),
    }
}

impl Sizes {
    fn add(&mut self, size: Size) -> ControlFlow<String> {
        let Some(level) = self.levels.last_mut() else {
            return ControlFlow::Continue(());
        };
        level.size.add(size);
        if level.size.relations > MAX_RELATIONS {
            return ControlFlow::Break(format!(
                "it reads more than {MAX_RELATIONS} tables, subqueries and branches of unions, \
                 common table expressions counted as often as they are named"
            ));
        }
        if level.size.expressions > MAX_EXPRESSIONS {
            return ControlFlow::Break(format!(
                "it has more than {MAX_EXPRESSIONS} expressions, those of common table \
                 expressions counted as often as they are named"
            ));
        }
        ControlFlow::Continue(())
    }

    fn relations(&mut self, relations: u64) -> ControlFlow<String> {
        self.add(Size {
            relations,
            expressions: 0,
        })
    }

    fn expressions(&mut self, expressions: u64) -> ControlFlow<String> {
        self.add(Size {
            relations: 0,
            expressions,
        })
    }

    /// What a table's name stands for.
    fn named(&self, name: &ObjectName) -> Size {
        let one = Size {
            relations: 1,
            expressions: 1,
        };
        let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else {
            return one;
        };
        let name = folded(name);
        for level in self.levels.iter().rev() {
            // A name that is visited right now stands for itself, or for one further out.
            let known = level.named.iter().rev().filter(|named| named.name == name);
            for named in known {
                match named.size {
                    Some(size) => return size,
                    None if level.recursive => return one,
                    None => {}
                }
            }
        }
        one
    }
}

/// Branches of the unions of a body, less one.
fn branches(body: &SetExpr) -> u64 {
    let mut open = vec![body];
    let mut count = 0;
    while let Some(body) = open.pop() {
        if let SetExpr::SetOperation { left, right, .. } = body {
            count += 1;
            open.extend([left.as_ref(), right.as_ref()]);
        }
    }
    count
}

/// Sets that a grouping expression stands for.
fn grouping_sets(expr: &Expr) -> u64 {
    let of = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    match expr {
        Expr::Cube(sets) => 1_u64
            .checked_shl(u32::try_from(sets.len()).unwrap_or(u32::MAX))
            .unwrap_or(u64::MAX),
        Expr::Rollup(sets) => of(sets.len()).saturating_add(1),
        Expr::GroupingSets(sets) => of(sets.len()).max(1),
        _ => 1,
    }
}

impl Visitor for Sizes {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let with = query.with.as_ref();
        let ctes = with.map(|with| with.cte_tables.as_slice());
        let named = ctes.unwrap_or_default().iter().map(|cte| Named {
            name: folded(&cte.alias.name),
            query: address(&cte.query),
            size: None,
        });
        self.levels.push(Level {
            named: named.collect(),
            recursive: with.is_some_and(|with| with.recursive),
            size: Size::default(),
        });
        self.relations(branches(&query.body))
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let Some(done) = self.levels.pop() else {
            return ControlFlow::Continue(());
        };
        let at = address(query);
        let outer = self.levels.last_mut();
        let named = outer.and_then(|outer| outer.named.iter_mut().find(|n| n.query == at));
        match named {
            // Counted where it is named; one that nobody names is planned all the same, and is
            // bounded by itself.
            Some(named) => {
                named.size = Some(done.size);
                ControlFlow::Continue(())
            }
            None => self.add(done.size),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        use datafusion::sql::sqlparser::ast::GroupByExpr;
        let mut sets = 1_u64;
        if let GroupByExpr::Expressions(by, _) = &select.group_by {
            for expr in by {
                sets = sets.saturating_mul(grouping_sets(expr));
            }
        }
        if sets > MAX_GROUPING_SETS {
            let detail = format!("it groups by more than {MAX_GROUPING_SETS} sets");
            return ControlFlow::Break(detail);
        }
        self.expressions(sets)
    }

    fn post_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        let stars = select.projection.iter().filter(|item| {
            matches!(
                item,
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
            )
        });
        let stars = u64::try_from(stars.count()).unwrap_or(u64::MAX);
        let tables = self.levels.last().map_or(1, |level| level.size.relations);
        self.expressions(stars.saturating_mul(STAR).saturating_mul(tables.max(1)))
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<String> {
        let size = self.named(relation);
        self.add(size)
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<String> {
        match table {
            // Counted by its name.
            TableFactor::Table { .. } => ControlFlow::Continue(()),
            _ => self.relations(1),
        }
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<String> {
        self.depth += 1;
        if self.depth > MAX_LEVELS {
            let detail = format!("an expression has more than {MAX_LEVELS} levels");
            return ControlFlow::Break(detail);
        }
        self.expressions(1)
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<String> {
        self.depth = self.depth.saturating_sub(1);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::query::statement::guard::parse;

    /// `n` expressions, each of which names the one before twice.
    fn doubling(n: usize) -> String {
        let first = "with c0 as (select id from invoices)".to_owned();
        let all = (1..=n).fold(first, |sql, at| {
            let before = at - 1;
            format!(
                "{sql}, c{at} as (select a.id from c{before} a join c{before} b on a.id = b.id)"
            )
        });
        format!("{all} select count(*) from c{n}")
    }

    fn refused(sql: &str) -> bool {
        match parse(sql) {
            Ok(_) => false,
            Err(QueryError::Complex(_)) => true,
            Err(other) => panic!("{}: {other:?}", &sql[..sql.len().min(200)]),
        }
    }

    #[test]
    fn a_statement_is_as_large_as_what_it_stands_for() {
        assert!(!refused(&doubling(5)));
        for n in [7, 8, 20, 60, 200] {
            assert!(refused(&doubling(n)), "{n}");
        }
        // The same by unions, subqueries in expressions, and names further out.
        let unions = (1..12).fold("with c0 as (select 1)".to_owned(), |sql, n| {
            format!(
                "{sql}, c{n} as (select * from c{0} union all select * from c{0})",
                n - 1
            )
        });
        assert!(refused(&format!("{unions} select * from c11")));
        let within = (1..12).fold("with c0 as (select 1 as x)".to_owned(), |sql, n| {
            format!(
                "{sql}, c{n} as (select (select x from c{0}) + (select x from c{0}) as x)",
                n - 1
            )
        });
        assert!(refused(&format!("{within} select * from c11")));
        let many = (1..=70)
            .map(|n| format!("invoices i{n}"))
            .collect::<Vec<_>>();
        assert!(refused(&format!("select 1 from {}", many.join(", "))));
        assert!(refused(&vec!["select 1"; 70].join(" union all ")));
        assert!(refused(&vec!["values (1)"; 70].join(" union all ")));
    }

    #[test]
    fn names_are_those_that_the_planner_finds() {
        // A name of its own level, of a level further out, and a table of the same name.
        assert!(!refused(
            "with a as (select 1 as x), b as (select * from a) select * from b"
        ));
        assert!(!refused(
            "with recursive r as (select 1 as n union all select n + 1 from r where n < 5) select \
            * from r"
        ));
        let hidden = doubling(5).replace(
            "count(*) from c5",
            "(select count(*) from c5 x, C5 y, c5 z)",
        );
        assert!(refused(&hidden));
        let shadowed = "with c0 as (select 1), c1 as (with c0 as (select 2) select * from c0) \
            select * from c1, c0";
        assert!(!refused(shadowed));
    }

    #[test]
    fn levels_lists_and_sets_are_bounded() {
        let chain = |n: usize| format!("select {}1", "1+".repeat(n));
        assert!(!refused(&chain(200)));
        for n in [300, 2_000, 8_000] {
            assert!(refused(&chain(n)), "{n}");
        }
        assert!(refused(&format!("select 1{}", "::int".repeat(2_000))));
        assert!(refused(&format!(
            "select cast(1 as int{})",
            "[]".repeat(3_000)
        )));
        assert!(refused(&format!(
            "select cast(1 as {}int{})",
            "array<".repeat(2_000),
            ">".repeat(2_000)
        )));
        assert!(refused(&format!("select {}", vec!["*"; 600].join(", "))));
        let cube: Vec<String> = (0..16).map(|n| format!("c{n}")).collect();
        assert!(refused(&format!(
            "select 1 from invoices group by cube({})",
            cube.join(", ")
        )));
        assert!(!refused(
            "select 1 from invoices group by cube(year, month, currency)"
        ));
        let list: Vec<String> = (0..4_000).map(|n| n.to_string()).collect();
        assert!(!refused(&format!(
            "select 1 from invoices where year in ({})",
            list.join(",")
        )));
    }
}
