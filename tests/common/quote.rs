//! Command lines as redis-cli reads them: words, `"..."` with escapes, `'...'`; and two of our own:
//! `{1000*x}` is a long argument, `$name` is replaced by the caller.

/// Why a line cannot be split.
#[derive(Debug, PartialEq)]
pub struct Unbalanced;

/// Splits a line into arguments.
pub fn split(line: &str) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let mut rest = line.as_bytes().trim_ascii_start();
    let mut arguments = Vec::new();
    while !rest.is_empty() {
        let (argument, after) = one(rest)?;
        arguments.push(argument);
        if !after.is_empty() && !after[0].is_ascii_whitespace() {
            return Err(Unbalanced);
        }
        rest = after.trim_ascii_start();
    }
    Ok(arguments)
}

fn one(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Unbalanced> {
    match text[0] {
        b'"' => double_quoted(text),
        b'\'' => single_quoted(text),
        b'{' => match repeated(text) {
            Some(found) => Ok(found),
            None => Ok(word(text)),
        },
        _ => Ok(word(text)),
    }
}

fn word(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    (text[..end].to_vec(), &text[end..])
}

/// Reads `"..."` at the start of `text`; gives the bytes and what follows.
pub fn double_quoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Unbalanced> {
    let mut bytes = Vec::new();
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return Ok((bytes, &text[at + 1..])),
            b'\\' => {
                let (byte, width) = escape(&text[at + 1..]).ok_or(Unbalanced)?;
                bytes.push(byte);
                at += 1 + width;
            }
            byte => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    Err(Unbalanced)
}

/// The byte of an escape (behind its backslash), and how many characters it takes.
fn escape(text: &[u8]) -> Option<(u8, usize)> {
    Some(match *text.first()? {
        b'n' => (b'\n', 1),
        b'r' => (b'\r', 1),
        b't' => (b'\t', 1),
        b'b' => (8, 1),
        b'a' => (7, 1),
        b'x' => match text.get(1..3).and_then(|hex| std::str::from_utf8(hex).ok()) {
            Some(hex) => (u8::from_str_radix(hex, 16).ok()?, 3),
            None => (b'x', 1),
        },
        byte => (byte, 1),
    })
}

fn single_quoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Unbalanced> {
    let end = text[1..].iter().position(|&byte| byte == b'\'').ok_or(Unbalanced)?;
    Ok((text[1..=end].to_vec(), &text[end + 2..]))
}

/// `{count*text}`.
fn repeated(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let end = text.iter().position(|&byte| byte == b'}')?;
    let inside = std::str::from_utf8(&text[1..end]).ok()?;
    let (count, unit) = inside.split_once('*')?;
    Some((unit.repeat(count.parse().ok()?).into_bytes(), &text[end + 1..]))
}

/// The bytes in double quotes, everything unprintable escaped.
pub fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' => text += "\\\"",
            b'\\' => text += "\\\\",
            b'\n' => text += "\\n",
            b'\r' => text += "\\r",
            b'\t' => text += "\\t",
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text += &format!("\\x{byte:02x}"),
        }
    }
    text + "\""
}

/// A command as one would type it.
pub fn command_line(arguments: &[Vec<u8>]) -> String {
    let shown = arguments.iter().map(|argument| {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_-+.:*?[]()<>=%/@,^".contains(b);
        if argument.len() > 400 {
            format!("{{{}*{}}}", argument.len(), quote(&argument[..1]))
        } else if !argument.is_empty() && argument.iter().all(plain) {
            String::from_utf8_lossy(argument).into_owned()
        } else {
            quote(argument)
        }
    });
    shown.collect::<Vec<String>>().join(" ")
}
