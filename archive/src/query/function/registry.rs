//! The functions that SQL has, each of them with what it costs. A function of the engine that is
//! not named here is not there: a new version of the engine adds none by itself, and a test says
//! which ones it would.

use std::sync::{Arc, LazyLock};

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

use super::bounded::{Bounded, Cost};
use crate::query::function;

/// What is done about a function.
#[derive(Clone, Copy, Debug)]
enum Class {
    /// As the engine has it: a row costs the same, whatever is in it, and so does its result.
    Plain,
    /// Computed within bounds.
    Bounded(Cost),
    /// Not there.
    Out,
}

use Class::{Out, Plain};

const LINEAR: Class = Class::Bounded(Cost::Linear);

const fn grows(result: fn(&[u64]) -> u64) -> Class {
    Class::Bounded(Cost::Grows(result))
}

/// Pairs of bytes that a function compares which mostly looks at few of them.
const SEARCH: Class = Class::Bounded(Cost::Pairs(256 * 1024 * 1024));
/// Pairs of bytes that a function compares which looks at all of them.
const TABLE: Class = Class::Bounded(Cost::Pairs(16 * 1024 * 1024));

/// Bytes of an element of a list beside its text.
const ELEMENT: u64 = crate::query::bound::sizes::SLOT;
/// Bytes that the longest number has as text.
const NUMBER: u64 = 80;

fn at(sizes: &[u64], at: usize) -> u64 {
    sizes.get(at).copied().unwrap_or(0)
}

fn all(sizes: &[u64]) -> u64 {
    sizes.iter().fold(0, |all, one| all.saturating_add(*one))
}

/// The first argument between all others.
fn separated(sizes: &[u64]) -> u64 {
    let others = u64::try_from(sizes.len().saturating_sub(1)).unwrap_or(u64::MAX);
    all(sizes).saturating_add(at(sizes, 0).saturating_mul(others))
}

/// Each of so many places of the first argument takes the third.
fn replaced(sizes: &[u64]) -> u64 {
    let places = (at(sizes, 0) / at(sizes, 1).max(1)).saturating_add(1);
    at(sizes, 0).saturating_add(places.saturating_mul(at(sizes, 2)))
}

/// A letter takes the place of one, which has up to four bytes.
fn translated(sizes: &[u64]) -> u64 {
    at(sizes, 0).saturating_mul(4)
}

/// Some letters are three in the other case.
fn recased(sizes: &[u64]) -> u64 {
    at(sizes, 0).saturating_mul(3)
}

/// What each sign of a pattern can become.
fn formatted(sizes: &[u64]) -> u64 {
    at(sizes, 1).saturating_mul(24).saturating_add(NUMBER)
}

/// Elements as texts, with what stands between them and for those that are null.
fn joined(sizes: &[u64]) -> u64 {
    let elements = at(sizes, 0) / ELEMENT + 1;
    let beside = at(sizes, 1)
        .saturating_add(at(sizes, 2))
        .saturating_add(NUMBER);
    at(sizes, 0).saturating_add(elements.saturating_mul(beside))
}

/// Pieces of a text, as elements.
fn pieces(sizes: &[u64]) -> u64 {
    let pieces = (at(sizes, 0) / at(sizes, 1).max(1)).saturating_add(1);
    at(sizes, 0).saturating_add(pieces.saturating_mul(ELEMENT))
}

/// Each element takes the third argument.
fn exchanged(sizes: &[u64]) -> u64 {
    let elements = at(sizes, 0) / ELEMENT + 1;
    at(sizes, 0).saturating_add(elements.saturating_mul(at(sizes, 2)))
}

/// All functions of the engine that compute a value of values.
const SCALAR: &[(&str, Class)] = &[
    // Nulls and choices: rewritten by the planner, or as large as an argument.
    ("coalesce", Plain),
    ("greatest", LINEAR),
    ("least", LINEAR),
    ("nullif", LINEAR),
    ("nvl", Plain),
    ("nvl2", Plain),
    // Structs, and types of the engine's own.
    ("arrow_cast", Out),
    ("arrow_field", Out),
    ("arrow_metadata", Out),
    ("arrow_try_cast", Out),
    ("arrow_typeof", Plain),
    ("cast_to_type", Out),
    ("get_field", Plain),
    ("named_struct", Plain),
    ("struct", Plain),
    ("try_cast_to_type", Out),
    ("union_extract", Out),
    ("union_tag", Out),
    ("with_metadata", Out),
    // Files, bytes, and the engine.
    ("decode", Out),
    ("encode", Out),
    ("file_row_index", Out),
    ("input_file_name", Out),
    ("version", Out),
    // Moments.
    ("current_date", Plain),
    ("current_time", Plain),
    ("date_bin", Plain),
    ("date_part", Plain),
    ("date_trunc", Plain),
    ("from_unixtime", Plain),
    ("make_date", Plain),
    ("make_time", Plain),
    ("now", Plain),
    ("to_char", grows(formatted)),
    ("to_date", LINEAR),
    ("to_local_time", Plain),
    ("to_time", LINEAR),
    ("to_timestamp", LINEAR),
    ("to_timestamp_micros", LINEAR),
    ("to_timestamp_millis", LINEAR),
    ("to_timestamp_nanos", LINEAR),
    ("to_timestamp_seconds", LINEAR),
    ("to_unixtime", LINEAR),
    // Numbers.
    ("abs", Plain),
    ("acos", Plain),
    ("acosh", Plain),
    ("asin", Plain),
    ("asinh", Plain),
    ("atan", Plain),
    ("atan2", Plain),
    ("atanh", Plain),
    ("cbrt", Plain),
    ("ceil", Plain),
    ("cos", Plain),
    ("cosh", Plain),
    ("cot", Plain),
    ("degrees", Plain),
    ("exp", Plain),
    ("factorial", Plain),
    ("floor", Plain),
    ("gcd", Plain),
    ("isnan", Plain),
    ("iszero", Plain),
    ("lcm", Plain),
    ("ln", Plain),
    ("log", Plain),
    ("log10", Plain),
    ("log2", Plain),
    ("nanvl", Plain),
    ("pi", Plain),
    ("power", Plain),
    ("radians", Plain),
    ("random", Plain),
    ("round", Plain),
    ("signum", Plain),
    ("sin", Plain),
    ("sinh", Plain),
    ("sqrt", Plain),
    ("tan", Plain),
    ("tanh", Plain),
    ("trunc", Plain),
    // Texts.
    ("ascii", Plain),
    ("bit_length", Plain),
    ("btrim", SEARCH),
    ("character_length", LINEAR),
    ("chr", Plain),
    ("concat", grows(all)),
    ("concat_ws", grows(separated)),
    ("contains", LINEAR),
    ("ends_with", LINEAR),
    ("find_in_set", LINEAR),
    ("initcap", grows(recased)),
    ("left", LINEAR),
    ("levenshtein", TABLE),
    ("lower", grows(recased)),
    ("lpad", Out),
    ("ltrim", SEARCH),
    ("octet_length", Plain),
    ("overlay", grows(all)),
    ("repeat", Out),
    ("replace", grows(replaced)),
    ("reverse", LINEAR),
    ("right", LINEAR),
    ("rpad", Out),
    ("rtrim", SEARCH),
    ("split_part", LINEAR),
    ("starts_with", LINEAR),
    ("strpos", SEARCH),
    ("substr", LINEAR),
    ("substr_index", LINEAR),
    ("to_hex", Plain),
    ("translate", grows(translated)),
    ("upper", grows(recased)),
    ("uuid", Out),
    // Regular expressions, which are compiled again for each batch or row. Some builds of the
    // engine have them.
    ("regexp_count", Out),
    ("regexp_instr", Out),
    ("regexp_like", Out),
    ("regexp_match", Out),
    ("regexp_replace", Out),
    // Lists.
    ("array_any_value", LINEAR),
    ("array_append", grows(all)),
    ("array_compact", LINEAR),
    ("array_concat", grows(all)),
    ("array_dims", LINEAR),
    ("array_distinct", LINEAR),
    ("array_element", LINEAR),
    ("array_except", SEARCH),
    ("array_has", LINEAR),
    ("array_has_all", SEARCH),
    ("array_has_any", SEARCH),
    ("array_intersect", SEARCH),
    ("array_length", LINEAR),
    ("array_max", LINEAR),
    ("array_min", LINEAR),
    ("array_ndims", LINEAR),
    ("array_pop_back", LINEAR),
    ("array_pop_front", LINEAR),
    ("array_position", LINEAR),
    ("array_positions", LINEAR),
    ("array_prepend", grows(all)),
    ("array_remove", LINEAR),
    ("array_remove_all", LINEAR),
    ("array_remove_n", LINEAR),
    ("array_repeat", Out),
    ("array_replace", grows(exchanged)),
    ("array_replace_all", grows(exchanged)),
    ("array_replace_n", grows(exchanged)),
    ("array_resize", Out),
    ("array_reverse", LINEAR),
    ("array_slice", LINEAR),
    ("array_sort", LINEAR),
    ("array_to_string", grows(joined)),
    ("array_union", grows(all)),
    ("arrays_zip", Out),
    ("cardinality", LINEAR),
    ("empty", LINEAR),
    ("flatten", LINEAR),
    ("generate_series", Out),
    ("make_array", grows(all)),
    ("range", Out),
    ("string_to_array", grows(pieces)),
    // Maps, which no column is, and vectors.
    ("array_add", Out),
    ("array_avg", Out),
    ("array_distance", Out),
    ("array_normalize", Out),
    ("array_product", Out),
    ("array_scale", Out),
    ("array_subtract", Out),
    ("array_sum", Out),
    ("cosine_distance", Out),
    ("inner_product", Out),
    ("map", Out),
    ("map_entries", Out),
    ("map_extract", Out),
    ("map_keys", Out),
    ("map_values", Out),
];

/// How large the value of an aggregate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// As large as one of those that it was made of.
    One,
    /// As large as all of them. As a window it would be made for each row.
    All,
}

use Value::{All, One};

/// All functions of the engine that make one value of many.
const AGGREGATE: &[(&str, Value)] = &[
    ("any_value", One),
    ("approx_distinct", All),
    ("approx_median", All),
    ("approx_percentile_cont", All),
    ("approx_percentile_cont_with_weight", All),
    ("array_agg", All),
    ("avg", One),
    ("bit_and", One),
    ("bit_or", One),
    ("bit_xor", One),
    ("bool_and", One),
    ("bool_or", One),
    ("corr", One),
    ("count", One),
    ("covar_pop", One),
    ("covar_samp", One),
    ("first_value", One),
    ("grouping", One),
    ("last_value", One),
    ("max", One),
    ("median", All),
    ("min", One),
    ("nth_value", All),
    ("percentile_cont", All),
    ("regr_avgx", One),
    ("regr_avgy", One),
    ("regr_count", One),
    ("regr_intercept", One),
    ("regr_r2", One),
    ("regr_slope", One),
    ("regr_sxx", One),
    ("regr_sxy", One),
    ("regr_syy", One),
    ("stddev", One),
    ("stddev_pop", One),
    ("string_agg", All),
    ("sum", One),
    ("var", One),
    ("var_pop", One),
];

/// All functions of the engine that are for windows alone.
const WINDOW: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// Whether an aggregate may be used with OVER.
pub(crate) fn may_be_window(name: &str) -> bool {
    AGGREGATE.contains(&(name, One))
}

/// The functions of a session.
pub(crate) struct Functions {
    pub(crate) scalar: Vec<Arc<ScalarUDF>>,
    pub(crate) aggregate: Vec<Arc<AggregateUDF>>,
    pub(crate) window: Vec<Arc<WindowUDF>>,
}

pub(crate) static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    let engine = SessionStateDefaults::default_scalar_functions();
    let mut scalar: Vec<_> = engine.into_iter().filter_map(admitted).collect();
    scalar.push(Bounded::wrap(function::json_text(), Cost::Linear));
    let mut aggregate = SessionStateDefaults::default_aggregate_functions();
    aggregate.retain(|function| AGGREGATE.iter().any(|(name, _)| *name == function.name()));
    let mut window = SessionStateDefaults::default_window_functions();
    window.retain(|function| WINDOW.contains(&function.name()));
    Functions {
        scalar,
        aggregate,
        window,
    }
});

fn class(name: &str) -> Option<Class> {
    let found = SCALAR.iter().find(|(known, _)| *known == name);
    found.map(|(_, class)| *class)
}

fn admitted(function: Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
    match class(function.name())? {
        Plain => Some(function),
        Class::Bounded(cost) => Some(Bounded::wrap(function, cost)),
        Out => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_function_of_the_engine_is_classified() {
        let engine = SessionStateDefaults::default_scalar_functions();
        let engine: BTreeSet<_> = engine.iter().map(|f| f.name().to_owned()).collect();
        let known: BTreeSet<_> = SCALAR.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(known.len(), SCALAR.len(), "a function is named twice");
        let new: Vec<_> = engine.difference(&known).collect();
        assert!(new.is_empty(), "classify what the engine has now: {new:?}");
        // What is left out may be missing: that depends on how the engine was built.
        let there = |name: &&&String| !matches!(class(name), Some(Out));
        let gone: Vec<_> = known
            .difference(&engine)
            .filter(|name| there(&name))
            .collect();
        assert!(gone.is_empty(), "the engine has these no more: {gone:?}");
        let engine = SessionStateDefaults::default_aggregate_functions();
        let engine: BTreeSet<_> = engine.iter().map(|f| f.name().to_owned()).collect();
        let known: BTreeSet<_> = AGGREGATE
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        assert_eq!(engine, known);
        let engine = SessionStateDefaults::default_window_functions();
        let engine: BTreeSet<_> = engine.iter().map(|f| f.name().to_owned()).collect();
        let known: BTreeSet<_> = WINDOW.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(engine, known);
    }

    #[test]
    fn what_tells_of_files_or_grows_at_will_is_no_function() {
        let names: Vec<&str> = FUNCTIONS.scalar.iter().map(|f| f.name()).collect();
        for name in [
            "date_trunc",
            "round",
            "json_text",
            "coalesce",
            "replace",
            "now",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        let left_out = SCALAR.iter().filter(|(_, class)| matches!(class, Out));
        for (name, _) in left_out {
            assert!(!names.contains(name), "{name}");
        }
        for name in [
            "repeat",
            "lpad",
            "range",
            "generate_series",
            "input_file_name",
            "version",
        ] {
            assert!(!names.contains(&name), "{name}");
        }
        // By no other name either.
        let aliases = FUNCTIONS.scalar.iter().flat_map(|f| f.aliases());
        let aliases: Vec<_> = aliases.map(String::as_str).collect();
        for name in ["list_repeat", "list_resize", "arrow_cast", "range"] {
            assert!(!aliases.contains(&name), "{name}");
        }
    }
}
