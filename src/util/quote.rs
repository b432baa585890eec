//! Quoting: how a line is cut into arguments, and how bytes are printed so that they can be
//! read back. Inline requests and the configuration file share the first; MONITOR, SLOWLOG and
//! CONFIG REWRITE the second.

use std::fmt::Write;

/// A quote was left open, or text followed a closing quote without a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

impl std::fmt::Display for UnbalancedQuotes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unbalanced quotes")
    }
}

impl std::error::Error for UnbalancedQuotes {}

/// Cuts `line` into its arguments: split at spaces; `"..."` understands `\xHH`, `\n \r \t \b \a`
/// and `\` before any other byte, `'...'` only `\'`.
pub fn split_args(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let mut bytes = Vec::new();
    let mut args = Vec::new();
    split_args_into(line, &mut bytes, |arg| args.push(arg.to_vec()))?;
    Ok(args)
}

/// As [`split_args`], without an allocation for each argument: `bytes` receives all arguments
/// one behind the other, and `done` is called with each as soon as it is complete.
pub fn split_args_into(
    line: &[u8],
    bytes: &mut Vec<u8>,
    mut done: impl FnMut(&[u8]),
) -> Result<(), UnbalancedQuotes> {
    let mut rest = trim_start(line);
    while !rest.is_empty() {
        let start = bytes.len();
        rest = trim_start(take_arg(rest, bytes)?);
        done(&bytes[start..]);
    }
    Ok(())
}

/// `isspace` of C: the vertical tab is a space, which Rust's ASCII white space leaves out.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn trim_start(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|&&byte| is_space(byte)).count();
    &text[spaces..]
}

/// Appends the argument at the start of `text` to `out`; returns what follows it.
fn take_arg<'a>(mut text: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        match text {
            // Vertical tab and form feed are skipped between arguments, yet do not end one.
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(text),
            [b'"', rest @ ..] => return after_quote(take_double_quoted(rest, out)?),
            [b'\'', rest @ ..] => return after_quote(take_single_quoted(rest, out)?),
            [byte, rest @ ..] => {
                out.push(*byte);
                text = rest;
            }
        }
    }
}

/// A closing quote ends its argument: a space or the end must follow.
fn after_quote(rest: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match rest.first() {
        Some(&byte) if !is_space(byte) => Err(UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn take_double_quoted<'a>(
    mut text: &'a [u8],
    out: &mut Vec<u8>,
) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        text = match text {
            [] => return Err(UnbalancedQuotes),
            [b'"', rest @ ..] => return Ok(rest),
            [b'\\', b'x', high, low, rest @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(hex_digit(*high) << 4 | hex_digit(*low));
                rest
            }
            [b'\\', escaped, rest @ ..] => {
                out.push(unescape(*escaped));
                rest
            }
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
        }
    }
}

fn take_single_quoted<'a>(
    mut text: &'a [u8],
    out: &mut Vec<u8>,
) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        text = match text {
            [] => return Err(UnbalancedQuotes),
            [b'\'', rest @ ..] => return Ok(rest),
            [b'\\', b'\'', rest @ ..] => {
                out.push(b'\'');
                rest
            }
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
        }
    }
}

fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => byte.to_ascii_lowercase() - b'a' + 10,
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// `bytes` between double quotes, everything unprintable escaped: [`split_args`] reads the very
/// bytes back.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    push_quoted(bytes, &mut text);
    text
}

/// Appends what [`quoted`] returns to `out`.
pub fn push_quoted(bytes: &[u8], out: &mut String) {
    out.push('"');
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'"' => out.push_str("\\\""),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => _ = write!(out, "\\x{byte:02x}"),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    /// What Redis makes of inline requests.
    #[test]
    fn lines_are_cut_into_arguments() {
        let cases: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b"  \t\r\x0b\x0c ", &[]),
            (b"PING", &[b"PING"]),
            (b" \tSET  k\tv \r", &[b"SET", b"k", b"v"]),
            (b"ECHO \"\"", &[b"ECHO", b""]),
            (b"ECHO ''", &[b"ECHO", b""]),
            (b"\"\\x41\\n\\r\\t\\b\\a\\q\\\"\\\\\"", &[b"A\n\r\t\x08\x07q\"\\"]),
            (b"\"\\x4\" \"\\xzz\" \"\\xfF\"", &[b"x4", b"xzz", b"\xff"]),
            (b"'a\\'b\\n'", &[b"a'b\\n"]),
            (b"\\x41", &[b"\\x41"]),
            (b"a\"b c\"", &[b"ab c"]),
            (b"a'b c' d", &[b"ab c", b"d"]),
            (b"a\x0bb \x0bc", &[b"a\x0bb", b"c"]),
            (b"\"a\"\x0bb", &[b"a", b"b"]),
            (b"a\0b", &[b"a\0b"]),
        ];
        for (line, args) in cases {
            let got = split_args(line).expect("balanced");
            assert_eq!(got, *args, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [
            "\"",
            "'",
            "ECHO \"abc",
            "ECHO \"abc\"d",
            "'abc'd",
            "a\"b c\"d",
            "ab\"",
            "\"\\",
            "'\\'",
        ] {
            assert_eq!(split_args(line.as_bytes()), Err(UnbalancedQuotes), "{line}");
        }
    }

    #[test]
    fn quoted_bytes_as_monitor_prints_them() {
        assert_eq!(quoted(b""), "\"\"");
        assert_eq!(quoted(b"key"), "\"key\"");
        assert_eq!(quoted(b"a\"b\\c d~"), "\"a\\\"b\\\\c d~\"");
        assert_eq!(quoted(b"\n\r\t\x07\x08"), "\"\\n\\r\\t\\a\\b\"");
        assert_eq!(quoted(b"\0\x1b\x7f\xff"), "\"\\x00\\x1b\\x7f\\xff\"");
    }

    #[test]
    fn quoted_bytes_read_back() {
        let seed = 0x900e;
        let mut rng = SplitMix64::new(seed);
        for _ in 0..2_000 {
            let len = rng.below(30);
            let bytes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            let line = format!("x {} y", quoted(&bytes));
            let got = split_args(line.as_bytes()).expect("balanced");
            assert_eq!(got[1], bytes, "seed {seed:#x}");
        }
    }
}
