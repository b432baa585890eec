//! A reply as a value, and the readable form in which scripts and reports show it.
//!
//! ```text
//!   +OK  -ERR text  :1  "bulk\r\n"  (nil)  (nil array)  ["a" ["b" :2]]  []
//!   RESP3: map["k" :1]  set["a"]  push["message" ...]  (null)  (true)  (false)
//!          (double 3.1)  (big 12345678901234567890)  (verbatim txt "text")
//!   a bulk over 400 bytes: (bulk 1000 0x1a2b3c4d), its length and checksum
//! ```

use super::quote::quote;

/// A reply, with nothing of the wire's form lost but the spelling of lengths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    NilBulk,
    NilArray,
    Array(Vec<Value>),
    Map(Vec<Value>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Null,
    Bool(bool),
    Double(Vec<u8>),
    Big(Vec<u8>),
    Verbatim(Vec<u8>, Vec<u8>),
}

/// Columns that a reply may take on one line.
const LINE_COLUMNS: usize = 96;
/// Bulks longer than this are shown by length and checksum.
const BULK_SHOWN_MAX: usize = 400;

impl Value {
    pub fn bulk(bytes: impl Into<Vec<u8>>) -> Value {
        Value::Bulk(bytes.into())
    }

    /// The elements of any kind of aggregate; a map's keys and values alternate.
    pub fn elements(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) | Value::Map(items) | Value::Set(items) | Value::Push(items) => {
                Some(items)
            }
            _ => None,
        }
    }

    /// The same kind of aggregate with other elements; `None` for what is no aggregate.
    pub fn with_elements(&self, items: Vec<Value>) -> Option<Value> {
        Some(match self {
            Value::Array(_) => Value::Array(items),
            Value::Map(_) => Value::Map(items),
            Value::Set(_) => Value::Set(items),
            Value::Push(_) => Value::Push(items),
            _ => return None,
        })
    }

    /// The text of a simple string, bulk or verbatim string.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(text) | Value::Bulk(text) | Value::Verbatim(_, text) => Some(text),
            _ => None,
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    /// The readable form: one line if it fits, else one element a line.
    pub fn pretty(&self) -> String {
        let line = self.one_line();
        match line {
            Some(line) if line.chars().count() <= LINE_COLUMNS => line,
            _ => self.many_lines(0),
        }
    }

    /// The name in front of an aggregate's bracket.
    fn prefix(&self) -> &'static str {
        match self {
            Value::Map(_) => "map",
            Value::Set(_) => "set",
            Value::Push(_) => "push",
            _ => "",
        }
    }

    /// `None` where the form needs lines of its own: texts with spaces inside an aggregate.
    fn one_line(&self) -> Option<String> {
        let Some(items) = self.elements() else { return Some(self.scalar()) };
        let mut parts = Vec::with_capacity(items.len());
        for item in items {
            let part = item.one_line()?;
            let runs_to_line_end = matches!(item, Value::Simple(_) | Value::Error(_));
            if runs_to_line_end && part.contains([' ', '[', ']']) {
                return None;
            }
            parts.push(part);
        }
        Some(format!("{}[{}]", self.prefix(), parts.join(" ")))
    }

    fn many_lines(&self, indent: usize) -> String {
        let Some(items) = self.elements() else { return self.scalar() };
        let pad = "  ".repeat(indent + 1);
        let mut text = format!("{}[\n", self.prefix());
        for item in items {
            let short = item.one_line().filter(|line| line.len() + pad.len() <= LINE_COLUMNS);
            let shown = short.unwrap_or_else(|| item.many_lines(indent + 1));
            text += &format!("{pad}{shown}\n");
        }
        text + &"  ".repeat(indent) + "]"
    }

    fn scalar(&self) -> String {
        let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Value::Simple(text) => format!("+{}", escape_line(text)),
            Value::Error(text) => format!("-{}", escape_line(text)),
            Value::Int(number) => format!(":{number}"),
            Value::Bulk(bytes) if bytes.len() > BULK_SHOWN_MAX => {
                format!("(bulk {} 0x{:08x})", bytes.len(), checksum(bytes))
            }
            Value::Bulk(bytes) => quote(bytes),
            Value::NilBulk => "(nil)".into(),
            Value::NilArray => "(nil array)".into(),
            Value::Null => "(null)".into(),
            Value::Bool(value) => format!("({value})"),
            Value::Double(text) => format!("(double {})", plain(text)),
            Value::Big(text) => format!("(big {})", plain(text)),
            Value::Verbatim(kind, text) => format!("(verbatim {} {})", plain(kind), quote(text)),
            Value::Array(_) | Value::Map(_) | Value::Set(_) | Value::Push(_) => String::new(),
        }
    }
}

/// A line of text with everything unprintable escaped, without quotes around it.
fn escape_line(bytes: &[u8]) -> String {
    let quoted = quote(bytes);
    let line = quoted[1..quoted.len() - 1].replace("\\\"", "\"");
    // A space at the end of a line is what editors remove.
    match line.strip_suffix(' ') {
        Some(start) => format!("{start}\\x20"),
        None => line,
    }
}

/// FNV-1a, 32 bits: tells long values apart in reports.
pub fn checksum(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
