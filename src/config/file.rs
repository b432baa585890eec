//! The syntax of a configuration file: `name value...` lines, quotes, comments.
//!
//! ```text
//! # a comment takes a line of its own
//! maxmemory 100mb
//! requirepass "a b\x00c"
//! save 900 1
//! include conf.d/*.conf
//! ```
//!
//! Pure: bytes in, lines out. What a line means is said in `load`.

use std::fmt;

use crate::util::quote::{UnbalancedQuotes, quoted, split_args};

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// Its first word, in lower case.
    pub name: String,
    /// Its other words.
    pub args: Vec<Vec<u8>>,
}

/// A line that cannot be cut into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Its number, from 1.
    pub line: usize,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unbalanced quotes")
    }
}

impl std::error::Error for SyntaxError {}

/// The lines of `bytes` that say something.
pub fn parse(bytes: &[u8]) -> Result<Vec<Line>, SyntaxError> {
    let numbered = raw_lines(bytes).zip(1..);
    let parsed = numbered.filter_map(|(text, number)| parse_line(text, number).transpose());
    parsed.collect()
}

/// The lines of a file, without their ends and without a byte order mark.
pub(super) fn raw_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// One line; `None` when it is empty or a comment.
pub(super) fn parse_line(text: &[u8], number: usize) -> Result<Option<Line>, SyntaxError> {
    if text.trim_ascii_start().first() == Some(&b'#') {
        return Ok(None);
    }
    let words = split_args(text).map_err(|UnbalancedQuotes| SyntaxError { line: number })?;
    let mut words = words.into_iter();
    let Some(name) = words.next() else { return Ok(None) };
    let name = String::from_utf8_lossy(&name).to_ascii_lowercase();
    Ok(Some(Line { number, name, args: words.collect() }))
}

/// `word` as a file can hold it: in quotes when it needs them.
pub fn quote(word: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\".contains(byte);
    match std::str::from_utf8(word) {
        Ok(text) if !word.is_empty() && word.iter().all(plain) => text.into(),
        _ => quoted(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> (String, Vec<Vec<u8>>) {
        let lines = parse(text.as_bytes()).unwrap();
        assert_eq!(lines.len(), 1, "{text:?}");
        (lines[0].name.clone(), lines[0].args.clone())
    }

    #[test]
    fn comments_and_empty_lines_say_nothing() {
        let lines = parse(b"# port 1\n\n  \t\r\n   # x \"\nPort 7\r\n").unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].number, lines[0].name.as_str()), (5, "port"));
        assert_eq!(lines[0].args, [b"7"]);
        assert_eq!(parse(b"").unwrap(), []);
    }

    #[test]
    fn quotes_hold_spaces_and_bytes() {
        assert_eq!(one("requirepass \"a b\\x00\"").1, [b"a b\0"]);
        assert_eq!(one("requirepass 'a b'").1, [b"a b"]);
        assert_eq!(one("save \"\"").1, [b""]);
        assert_eq!(one("\u{feff}port 1").0, "port");
    }

    #[test]
    fn an_open_quote_is_told_with_its_line() {
        assert_eq!(parse(b"port 1\nrequirepass \"a"), Err(SyntaxError { line: 2 }));
        assert_eq!(parse(b"port 'a'b"), Err(SyntaxError { line: 1 }));
    }

    #[test]
    fn a_quoted_word_reads_back() {
        for word in [&b""[..], b"a", b"a b", b"\"", b"'x", b"a\\b", b"\0\xff\n\t", b"#x"] {
            let line = format!("requirepass {}", quote(word));
            assert_eq!(one(&line).1, [word], "{line}");
        }
        assert_eq!(quote(b"/var/lib"), "/var/lib");
    }
}
