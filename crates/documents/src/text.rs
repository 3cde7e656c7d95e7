//! What tenants wrote, made fit for a page and for XML.

use std::borrow::Cow;

use serde::Serialize;
use sheaf_model::visible_text::{is_blank, is_noncharacter};
use unicode_bidi::{Direction, get_base_direction};

/// A run of characters without a space can be broken anywhere behind this many.
const LONG_RUN: usize = 28;
/// Zero width space: a place where a line may end.
const MAY_BREAK: char = '\u{200b}';

/// A text on a page: its lines, and whether they run from right to left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Text {
    lines: Vec<String>,
    rtl: bool,
}

impl Text {
    /// The text's own lines, without empty ones. The direction is that of its first letter; a text
    /// without letters (a phone number) runs from left to right.
    pub(crate) fn new(text: &str) -> Self {
        let lines: Vec<String> = text
            .lines()
            .map(printable)
            .filter(|line| !is_blank(line))
            .map(|line| may_break(&line))
            .collect();
        let rtl = lines
            .iter()
            .map(|line| get_base_direction(line.as_str()))
            .find(|direction| *direction != Direction::Mixed)
            == Some(Direction::Rtl);
        Self { lines, rtl }
    }

    /// `None` when nothing of it can be shown.
    pub(crate) fn filled(text: &str) -> Option<Self> {
        let text = Self::new(text);
        (!text.lines.is_empty()).then_some(text)
    }

    /// Characters in all lines.
    pub(crate) fn length(&self) -> usize {
        self.lines.iter().map(|line| line.chars().count()).sum()
    }
}

/// One line without what cannot be shown. A control character stood between two words, or nowhere
/// that matters: it is a space. Those that turn the direction of what follows have no width and go:
/// a customer's name must not be able to turn an amount around.
pub(crate) fn printable(line: &str) -> String {
    let kept = line.chars().filter_map(|c| match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        c => Some(shown(c)),
    });
    kept.collect::<String>().trim().to_owned()
}

/// The character, or a space in the place of one that neither a page nor XML can show.
fn shown(c: char) -> char {
    let separates = matches!(c, '\u{2028}' | '\u{2029}');
    if c.is_control() || is_noncharacter(c) || separates {
        ' '
    } else {
        c
    }
}

/// Lets long runs without a space (links, hashes) end a line, so that they do not leave their
/// column.
fn may_break(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for (index, word) in line.split(' ').enumerate() {
        if index > 0 {
            out.push(' ');
        }
        if word.chars().count() <= LONG_RUN {
            out.push_str(word);
            continue;
        }
        let mut before = None;
        for c in word.chars() {
            // Arabic letters join their neighbours: a break between them would change their form.
            if before.is_some_and(|b: char| !is_joining(b) || !is_joining(c)) {
                out.push(MAY_BREAK);
            }
            out.push(c);
            before = Some(c);
        }
    }
    out
}

fn is_joining(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' | '\u{300}'..='\u{36f}')
}

/// The text on one line, with a space for each character that XML 1.0 cannot hold or that ends a
/// line; `None` when nothing is left that shows.
pub(crate) fn xml(text: &str) -> Option<String> {
    let kept: String = text.chars().map(shown).collect();
    let kept = kept.trim();
    (!is_blank(kept)).then(|| kept.to_owned())
}

/// The same with the text's own lines, for elements that may have several.
pub(crate) fn xml_lines(text: &str) -> Option<String> {
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.chars().map(shown).collect::<String>())
        .map(|line| line.trim_end().to_owned())
        .collect();
    let kept = lines.join("\n");
    let kept = kept.trim();
    (!is_blank(kept)).then(|| kept.to_owned())
}

/// The text with a space for each character that XML 1.0 cannot hold: what is written is
/// well-formed, wherever it comes from.
pub(crate) fn holdable(text: &str) -> Cow<'_, str> {
    let keeps = |c: char| matches!(c, '\n' | '\t') || shown(c) == c;
    match text.chars().all(keeps) {
        true => Cow::Borrowed(text),
        false => text
            .chars()
            .map(|c| if keeps(c) { c } else { ' ' })
            .collect::<String>()
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direction_is_that_of_the_first_letter() {
        assert!(Text::new("123 שלום ACME").rtl);
        assert!(!Text::new("ACME שלום").rtl);
        assert!(!Text::new("+49 30 1234").rtl);
    }

    #[test]
    fn nothing_invisible_reaches_the_page() {
        let text = Text::new("a\u{202e}b\u{0}c\td\r\n\r\n  e  ");
        assert_eq!(text.lines, ["ab c d", "e"]);
        assert_eq!(Text::filled(" \u{2066}\n\t"), None);
        assert_eq!(Text::filled("\u{200b}\n\u{feff} \u{3164}"), None);
    }

    #[test]
    fn long_runs_can_break_and_words_cannot() {
        let run = "x".repeat(LONG_RUN + 1);
        assert_eq!(may_break(&run).matches(MAY_BREAK).count(), LONG_RUN);
        assert_eq!(
            may_break("Donaudampfschifffahrt 12"),
            "Donaudampfschifffahrt 12"
        );
    }

    #[test]
    fn xml_keeps_what_it_can_hold() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(xml(" a\u{1}<b>\u{fffe} "), some("a <b>"));
        assert_eq!(xml("a\tb\r\nc\u{b}d\u{2028}e"), some("a b  c d e"));
        assert_eq!(xml(" \u{7f}\n"), None);
        assert_eq!(xml("\u{202e}\u{200b}"), None);
        assert_eq!(xml("a\u{200b}b"), some("a\u{200b}b"));
        assert_eq!(xml_lines("a\u{1}b \r\n\n\tc\rd\n"), some("a b\n\n c d"));
        assert_eq!(xml_lines("\u{1}\n\u{2}"), None);
        assert_eq!(xml_lines("\u{2066}\n\u{2069}"), None);
        assert_eq!(holdable("a\u{1}b\n\tc\u{fffe}"), "a b\n\tc ");
    }

    /// Two words that a control character keeps apart are two words on the page and in the file.
    #[test]
    fn no_control_character_joins_words() {
        let controls = (0..=0x9f_u32).filter_map(char::from_u32);
        for c in controls.filter(|c| c.is_control() && *c != '\n') {
            let text = format!("two{c}words");
            let words = |text: &str| text.split_whitespace().count();
            let page = Text::new(&text).lines.join(" ");
            assert_eq!((words(&page), page.contains(c)), (2, false), "{c:?}");
            for file in [xml(&text), xml_lines(&text)].map(Option::unwrap_or_default) {
                assert_eq!((words(&file), file.contains(c)), (2, false), "{c:?}");
            }
        }
    }
}
