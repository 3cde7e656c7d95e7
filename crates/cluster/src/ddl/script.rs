//! A migration's statements, one by one.
//!
//! Citus passes some DDL on to the workers as the text that the coordinator got, and there it is
//! one command of the extended protocol. So a text of several statements fails, with "cannot insert
//! multiple commands into a prepared statement", as soon as one of them alters a table that is
//! distributed already: never on a new database, always on one that is upgraded.

/// The statements of an SQL script, in its order, without the semicolons behind them and without
/// what is only comments.
///
/// Semicolons in comments, in quotes and in dollar quotes belong to their statement. Those of a
/// function body in SQL's own form (`begin atomic ... end`) are not known: write it in dollar
/// quotes.
pub fn statements(script: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut from, mut at, mut says_something) = (0, 0, false);
    while let Some(rest) = script.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(';') {
            if says_something {
                found.push(script[from..at].trim());
            }
            at += 1;
            (from, says_something) = (at, false);
            continue;
        }
        let token = token(&script[..at], rest);
        says_something |= token.says_something;
        at += token.length;
    }
    if says_something {
        found.push(script[from..].trim());
    }
    found
}

struct Token {
    /// In bytes, at least one character.
    length: usize,
    /// Neither a comment nor white space.
    says_something: bool,
}

/// What `rest` begins with, which is not empty; `before` is what the script has before that.
fn token(before: &str, rest: &str) -> Token {
    let text = |length| Token {
        length,
        says_something: true,
    };
    let nothing = |length| Token {
        length,
        says_something: false,
    };
    let first = rest.chars().next().unwrap_or(' ');
    match first {
        '-' if rest.starts_with("--") => nothing(rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => nothing(comment(rest)),
        '\'' => text(quoted(rest, '\'', has_escapes(before))),
        '"' => text(quoted(rest, '"', false)),
        '$' if !ends_in_name(before) => text(dollar_quoted(rest).unwrap_or(1)),
        c if c.is_whitespace() => nothing(c.len_utf8()),
        c => text(c.len_utf8()),
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn ends_in_name(text: &str) -> bool {
    text.ends_with(is_of_name)
}

/// Whether a string that begins here is one with backslashes: `e'...'`.
fn has_escapes(before: &str) -> bool {
    before
        .strip_suffix(['e', 'E'])
        .is_some_and(|before| !ends_in_name(before))
}

/// Length of a comment, with those inside it.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(left) = rest.get(at..).filter(|left| !left.is_empty()) {
        if left.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if left.starts_with("*/") {
            depth = depth.saturating_sub(1);
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += left.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// Length of a text in quotes. A quote that is doubled ends it and begins another, which comes to
/// the same.
fn quoted(rest: &str, quote: char, escapes: bool) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if escapes && c == '\\' {
            is_escaped = true;
        } else if c == quote {
            return at + quote.len_utf8();
        }
    }
    rest.len()
}

/// Length of a text in dollar quotes; none where the dollar begins no such text.
fn dollar_quoted(rest: &str) -> Option<usize> {
    let inner = rest.get(1..)?;
    let tag = inner.find('$')?;
    let name = &inner[..tag];
    let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return None;
    }
    let (delimiter, body) = rest.split_at(tag + 2);
    let end = body
        .find(delimiter)
        .map_or(body.len(), |end| end + delimiter.len());
    Some(delimiter.len() + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart() {
        let cases: [(&str, &[&str]); 14] = [
            ("", &[]),
            (" ;; \n-- nothing; at all\n;/* ; /* ; */ ; */", &[]),
            ("select 1", &["select 1"]),
            ("select 1; select 2;\n", &["select 1", "select 2"]),
            ("-- a; b\nselect 1; -- c; d", &["-- a; b\nselect 1"]),
            (
                "select 1 -- a; b\n; select 2",
                &["select 1 -- a; b", "select 2"],
            ),
            (
                "select /* ; /* ; */ ; */ 1; select 2",
                &["select /* ; /* ; */ ; */ 1", "select 2"],
            ),
            (
                "select ';', 'it''s;'; select 2",
                &["select ';', 'it''s;'", "select 2"],
            ),
            (r"select '\'; select 2", &[r"select '\'", "select 2"]),
            (
                r"select e'\';', E'\\'; select 2",
                &[r"select e'\';', E'\\'", "select 2"],
            ),
            (
                r#"select ";", "a""b;"; select 2"#,
                &[r#"select ";", "a""b;""#, "select 2"],
            ),
            (
                "do $$ begin; end $$; select 2",
                &["do $$ begin; end $$", "select 2"],
            ),
            (
                "do $a$ ; $$ ; $b$ ; $a$; select é$a$; select $1",
                &["do $a$ ; $$ ; $b$ ; $a$", "select é$a$", "select $1"],
            ),
            // What does not end is PostgreSQL's to tell.
            ("select 'ü; select 2", &["select 'ü; select 2"]),
        ];
        for (script, expected) in cases {
            assert_eq!(statements(script), expected, "{script}");
        }
    }
}
