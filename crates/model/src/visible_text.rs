//! What a text shows to somebody who reads it on a page.

/// Whether nothing of the text can be seen: it is as good as empty. Documents have a space for each
/// control character and noncharacter; marks that turn, join or separate what stands around them
/// show nothing by themselves.
#[must_use]
pub fn is_blank(text: &str) -> bool {
    text.chars().all(is_invisible)
}

/// Code points that no text has for interchange, and that XML cannot hold in part.
#[must_use]
pub fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

fn is_invisible(c: char) -> bool {
    // Letters of ASCII first: almost every text ends here, at its first character.
    !c.is_ascii_graphic()
        && (c.is_whitespace() || c.is_control() || is_noncharacter(c) || is_ignorable(c))
}

/// Unicode's `Default_Ignorable_Code_Point` (DerivedCoreProperties, 16.0), and the characters that
/// are drawn blank by their own definition: the empty braille pattern and the marks of interlinear
/// annotations.
fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_nothing_is_blank() {
        let invisible = "\u{1}\u{9f}\u{ad}\u{34f}\u{61c}\u{200b}\u{200e}\u{202e}\u{2028}\u{2060}\
            \u{2066}\u{2069}\u{2800}\u{3000}\
            \u{3164}\u{fe0f}\u{feff}\u{fff9}\u{fffe}\u{e0041}\u{1fffe}";
        for c in invisible.chars() {
            assert!(is_blank(&c.to_string()), "{c:?}");
            // Beside something that shows it is part of the text.
            assert!(!is_blank(&format!("{c}x{c}")), "{c:?}");
        }
        assert!(is_blank("") && is_blank(" \u{202e}\n") && is_blank(invisible));
        for shown in ["-", "é", "\u{1f4e6}", "\u{301}", "שלום", "\u{e000}"] {
            assert!(!is_blank(shown), "{shown}");
        }
    }
}
