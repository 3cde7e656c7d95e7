//! PostgreSQL's dialect without what makes the parser read a statement over and over: it takes each
//! argument of a function for a name first, of whatever form, and reads it again when it is none,
//! so that `f(f(f(x)))` is read eight times. The other ways back that it has are bounded by how
//! often it may begin an expression.

use std::any::TypeId;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// Expressions that the parser may begin, at most. A statement as long as may be has a tenth of
/// them.
const BEGUN: usize = 100_000;

/// The dialect of one statement.
#[derive(Debug, Default)]
pub(crate) struct Bounded {
    begun: AtomicUsize,
}

/// As PostgreSQL has it.
macro_rules! same {
    ($($name:ident($($argument:ident: $of:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $($argument: $of),*) -> $result {
            PostgreSqlDialect {}.$name($($argument),*)
        })*
    };
}

impl Dialect for Bounded {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, _: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        // The one error after which the parser tries nothing else.
        (begun > BEGUN).then_some(Err(ParserError::RecursionLimitExceeded))
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    same! {
        identifier_quote_style(identifier: &str) -> Option<char>;
        is_delimited_identifier_start(letter: char) -> bool;
        is_identifier_start(letter: char) -> bool;
        is_identifier_part(letter: char) -> bool;
        supports_unicode_string_literal() -> bool;
        is_reserved_for_identifier(word: Keyword) -> bool;
        is_custom_operator_part(letter: char) -> bool;
        get_next_precedence(parser: &Parser) -> Option<Result<u8, ParserError>>;
        supports_filter_during_aggregation() -> bool;
        supports_group_by_expr() -> bool;
        prec_value(of: Precedence) -> u8;
        allow_extract_custom() -> bool;
        allow_extract_single_quotes() -> bool;
        supports_create_index_with_clause() -> bool;
        supports_explain_with_utility_options() -> bool;
        supports_listen_notify() -> bool;
        supports_factorial_operator() -> bool;
        supports_bitwise_shift_operators() -> bool;
        supports_comment_on() -> bool;
        supports_load_extension() -> bool;
        supports_named_fn_args_with_colon_operator() -> bool;
        supports_empty_projections() -> bool;
        supports_nested_comments() -> bool;
        supports_string_escape_constant() -> bool;
        supports_numeric_literal_underscores() -> bool;
        supports_array_typedef_with_brackets() -> bool;
        supports_geometric_types() -> bool;
        supports_set_names() -> bool;
        supports_alter_column_type_using() -> bool;
        supports_notnull_operator() -> bool;
        supports_interval_options() -> bool;
        supports_insert_table_alias() -> bool;
        supports_create_table_like_parenthesized() -> bool;
        supports_select_wildcard_with_alias() -> bool;
        supports_comma_separated_trim() -> bool;
        supports_xml_expressions() -> bool;
        supports_comment_optimizer_hint() -> bool;
    }
}
