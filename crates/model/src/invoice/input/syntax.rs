//! What is wrong with bytes that are no JSON document, in words for people who do not know our
//! parser.

use std::str::Utf8Error;

use super::ParseError;

/// The text of a document.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, ParseError> {
    std::str::from_utf8(bytes).map_err(|error| ParseError::Syntax(not_utf8(bytes, error)))
}

/// What serde has against `text`.
pub(crate) fn error(text: &str, error: &serde_json::Error) -> ParseError {
    let (what, at) = (words(error), place(text, error));
    ParseError::Syntax(format!("{what} at {at}"))
}

fn not_utf8(bytes: &[u8], error: Utf8Error) -> String {
    let valid = &bytes[..error.valid_up_to()];
    let before = characters(valid);
    format!("it is not UTF-8 after character {before}")
}

/// serde_json has no kinds of errors, but its texts have not changed in ten years. One that is not
/// here is told as it is.
fn words(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let told = match message {
        "EOF while parsing an object" => "it ends in the middle of an object",
        "EOF while parsing a list" => "it ends in the middle of an array",
        "EOF while parsing a string" => "it ends in the middle of a text",
        "EOF while parsing a value" => "it ends where a value is expected",
        "expected value" => "there is no value",
        "expected ident" => "a word is neither true, false nor null",
        "expected `:`" => "a colon is missing after a name",
        "expected `,` or `}`" => "a comma or the end of the object is missing",
        "expected `,` or `]`" => "a comma or the end of the array is missing",
        // Also behind a comma with nothing after it.
        "key must be a string" => "a name in double quotes is missing",
        "trailing comma" => "a comma has nothing after it",
        "trailing characters" => "something stands after the end of the document",
        "invalid number" => "a number is not written as JSON has it",
        "number out of range" => "a number is too large",
        "invalid escape" => "a backslash has nothing after it that JSON knows",
        "recursion limit exceeded" => "objects and arrays are nested too deep",
        _ if message.starts_with("control character") => {
            "a control character, such as a tab, stands in a text without its escape"
        }
        _ if message.contains("surrogate")
            || message.contains("hex escape")
            || message.contains("code point") =>
        {
            "a \\u escape is no character"
        }
        other => other,
    };
    told.to_owned()
}

/// Where it was noticed: the character, and the line where there are several.
fn place(text: &str, error: &serde_json::Error) -> String {
    let line = text.split('\n').nth(error.line().saturating_sub(1));
    let line = line.unwrap_or_default().as_bytes();
    // Columns are bytes.
    let column = error.column();
    let at = line.get(..column).map_or(column, characters).max(1);
    if text.contains('\n') {
        format!("line {}, character {at}", error.line())
    } else {
        format!("character {at}")
    }
}

/// How many characters begin in bytes of UTF-8.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| *byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    fn told(bytes: &[u8]) -> String {
        let read = text(bytes).and_then(|text| {
            let read = serde_json::from_str::<IgnoredAny>(text);
            read.map_err(|refused| error(text, &refused))
        });
        match read {
            Err(ParseError::Syntax(detail)) => detail,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn each_mistake_has_its_words() {
        for (bytes, detail) in [
            (&b""[..], "it ends where a value is expected at character 1"),
            (b"{", "it ends in the middle of an object at character 1"),
            (b"[1", "it ends in the middle of an array at character 2"),
            (b"\"ab", "it ends in the middle of a text at character 3"),
            (
                b"nonsense",
                "a word is neither true, false nor null at character 2",
            ),
            (
                b"{\"a\" 1}",
                "a colon is missing after a name at character 6",
            ),
            (
                b"{\"a\":1 2}",
                "a comma or the end of the object is missing at character 8",
            ),
            (
                b"[1 2]",
                "a comma or the end of the array is missing at character 4",
            ),
            (
                b"{a:1}",
                "a name in double quotes is missing at character 2",
            ),
            (
                b"{\"a\":1,}",
                "a name in double quotes is missing at character 8",
            ),
            (
                b"{}{}",
                "something stands after the end of the document at character 3",
            ),
            (b"{\"a\":}", "there is no value at character 6"),
            (
                b"[01]",
                "a number is not written as JSON has it at character 3",
            ),
            (
                b"\"\\x\"",
                "a backslash has nothing after it that JSON knows at character 3",
            ),
            ("{\"é\":,}".as_bytes(), "there is no value at character 6"),
            (b"{\r\n\"a\":,}", "there is no value at line 2, character 5"),
            (b"{\"a\xff", "it is not UTF-8 after character 3"),
        ] {
            assert_eq!(told(bytes), detail);
        }
        assert!(told(b"\"a\tb\"").starts_with("a control character"));
        // Noticed by whoever reads the text.
        let half = "\"\\ud800\"";
        let refused = serde_json::from_str::<String>(half).map_err(|refused| error(half, &refused));
        assert!(matches!(
            refused,
            Err(ParseError::Syntax(detail)) if detail.starts_with("a \\u escape is no character")
        ));
    }
}
