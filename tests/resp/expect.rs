//! Expected replies: the readable form of `common::value`, with wildcards.
//!
//! ```text
//!   *                 any reply             (closed)   the server closes the connection
//!   :95..100          a number in a range   (like "*text*")  a text; `*` stands for anything
//!   ~["a" "b"]        in any order          ~2["f" "1" "g" "2"]  pairs in any order
//! ```

use crate::common::quote::double_quoted;
use crate::common::value::{Value, checksum};
use crate::common::wire::WireError;

/// What a reply must be.
#[derive(Debug, PartialEq)]
pub enum Expect {
    Any,
    Closed,
    Exactly(Value),
    Range(i64, i64),
    Like(Vec<u8>),
    LongBulk(usize, u32),
    Aggregate { kind: Value, order: Order, items: Vec<Expect> },
}

/// Which order of an aggregate's elements is accepted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    AsWritten,
    Any,
    AnyOfPairs,
}

impl Expect {
    /// Reads one expectation, which must be all of `text`.
    pub fn parse(text: &str) -> Result<Expect, String> {
        let mut parser = Parser { text, at: 0 };
        let expect = parser.expect()?;
        match parser.rest().trim() {
            "" => Ok(expect),
            more => Err(format!("there is more after the reply: {more}")),
        }
    }

    pub fn matches(&self, reply: &Result<Value, WireError>) -> bool {
        match (self, reply) {
            (Expect::Closed, Err(WireError::Closed)) => true,
            (Expect::Closed, _) | (_, Err(_)) => false,
            (expect, Ok(value)) => expect.matches_value(value),
        }
    }

    fn matches_value(&self, value: &Value) -> bool {
        match self {
            Expect::Any => true,
            Expect::Closed => false,
            Expect::Exactly(expected) => expected == value,
            Expect::Range(low, high) => matches!(value, Value::Int(n) if low <= n && n <= high),
            Expect::Like(pattern) => {
                let text =
                    if let Value::Error(text) = value { Some(&text[..]) } else { value.text() };
                text.is_some_and(|text| is_like(pattern, text))
            }
            Expect::LongBulk(length, sum) => {
                matches!(value, Value::Bulk(b) if b.len() == *length && checksum(b) == *sum)
            }
            Expect::Aggregate { kind, order, items } => {
                let same_kind = std::mem::discriminant(kind) == std::mem::discriminant(value);
                let elements = value.elements().unwrap_or_default();
                same_kind && elements.len() == items.len() && in_order(*order, items, elements)
            }
        }
    }
}

fn in_order(order: Order, items: &[Expect], elements: &[Value]) -> bool {
    let width = match order {
        Order::AsWritten => return group_matches(items, elements),
        Order::Any => 1,
        Order::AnyOfPairs => 2,
    };
    let mut left: Vec<&[Value]> = elements.chunks(width).collect();
    items.chunks(width).all(|group| {
        let found = left.iter().position(|elements| group_matches(group, elements));
        found.map(|at| left.swap_remove(at)).is_some()
    })
}

fn group_matches(items: &[Expect], elements: &[Value]) -> bool {
    items.len() == elements.len() && items.iter().zip(elements).all(|(i, e)| i.matches_value(e))
}

/// `*` in the pattern stands for any text.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| is_like(rest, &text[skip..])),
        Some((first, rest)) => text.first() == Some(first) && is_like(rest, &text[1..]),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take_if(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        self.at += if found { prefix.len() } else { 0 };
        found
    }

    fn expect(&mut self) -> Result<Expect, String> {
        self.skip_space();
        let order = match () {
            () if self.take_if("~2") => Order::AnyOfPairs,
            () if self.take_if("~") => Order::Any,
            () => Order::AsWritten,
        };
        let kinds = [
            ("[", Value::Array(vec![])),
            ("map[", Value::Map(vec![])),
            ("set[", Value::Set(vec![])),
            ("push[", Value::Push(vec![])),
        ];
        for (opening, kind) in kinds {
            if self.take_if(opening) {
                return Ok(Expect::Aggregate { kind, order, items: self.items()? });
            }
        }
        match self.rest().chars().next() {
            Some('+' | '-') => self.status(),
            Some(':') => self.number(),
            Some('"') => Ok(Expect::Exactly(Value::Bulk(self.quoted()?))),
            Some('(') => self.named(),
            Some('*') => {
                self.at += 1;
                Ok(Expect::Any)
            }
            _ => Err(format!("no reply begins like this: {}", self.rest())),
        }
    }

    fn items(&mut self) -> Result<Vec<Expect>, String> {
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.take_if("]") {
                return Ok(items);
            }
            if self.rest().is_empty() {
                return Err("`]` is missing".into());
            }
            items.push(self.expect()?);
        }
    }

    /// At the start of a line a status runs to its end; within a line it is one word.
    fn status(&mut self) -> Result<Expect, String> {
        let before = &self.text[..self.at];
        let starts_line = before.rsplit('\n').next().is_none_or(|line| line.trim().is_empty());
        let rest = self.rest();
        let end = match starts_line {
            true => rest.find('\n'),
            false => rest.find([' ', ']', '\n']),
        };
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        let quoted = format!("\"{}\"", word[1..].replace('"', "\\\""));
        let (text, _) = double_quoted(quoted.as_bytes()).map_err(|_| "bad escape")?;
        let kind = if word.starts_with('+') { Value::Simple } else { Value::Error };
        Ok(Expect::Exactly(kind(text)))
    }

    fn number(&mut self) -> Result<Expect, String> {
        let rest = &self.rest()[1..];
        let end = rest.find([' ', ']', '\n']).unwrap_or(rest.len());
        let word = &rest[..end];
        self.at += 1 + end;
        let parse = |text: &str| text.parse::<i64>().map_err(|_| format!("no number: {word}"));
        match word.split_once("..") {
            Some((low, high)) => Ok(Expect::Range(parse(low)?, parse(high)?)),
            None => Ok(Expect::Exactly(Value::Int(parse(word)?))),
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, String> {
        let rest = self.rest().as_bytes();
        let (bytes, after) = double_quoted(rest).map_err(|_| "quotes do not close")?;
        self.at += rest.len() - after.len();
        Ok(bytes)
    }

    /// `(name ...)`.
    fn named(&mut self) -> Result<Expect, String> {
        self.at += 1;
        let end = self.rest().find([' ', ')']).ok_or("`)` is missing")?;
        let name = &self.rest()[..end];
        self.at += end;
        let found = match name {
            "like" => {
                self.skip_space();
                Expect::Like(self.quoted()?)
            }
            "verbatim" => {
                let kind = self.words()?.into_bytes();
                self.skip_space();
                Expect::Exactly(Value::Verbatim(kind, self.quoted()?))
            }
            name => named_scalar(name, &self.words_to_close()?)?,
        };
        if !self.take_if(")") {
            return Err("`)` is missing".into());
        }
        Ok(found)
    }

    fn words(&mut self) -> Result<String, String> {
        self.skip_space();
        let end = self.rest().find([' ', ')']).ok_or("`)` is missing")?;
        let word = self.rest()[..end].to_owned();
        self.at += end;
        Ok(word)
    }

    fn words_to_close(&mut self) -> Result<String, String> {
        let end = self.rest().find(')').ok_or("`)` is missing")?;
        let words = self.rest()[..end].trim().to_owned();
        self.at += end;
        Ok(words)
    }
}

fn named_scalar(name: &str, words: &str) -> Result<Expect, String> {
    Ok(Expect::Exactly(match (name, words) {
        ("closed", "") => return Ok(Expect::Closed),
        ("nil", "") => Value::NilBulk,
        ("nil", "array") => Value::NilArray,
        ("null", "") => Value::Null,
        ("true", "") => Value::Bool(true),
        ("false", "") => Value::Bool(false),
        ("double", text) => Value::Double(text.into()),
        ("big", text) => Value::Big(text.into()),
        ("bulk", text) => {
            let (length, sum) = text.split_once(" 0x").ok_or("write (bulk LENGTH 0xSUM)")?;
            let sum = u32::from_str_radix(sum, 16).map_err(|_| "no checksum")?;
            return Ok(Expect::LongBulk(length.parse().map_err(|_| "no length")?, sum));
        }
        _ => return Err(format!("no reply is called ({name} {words})")),
    }))
}

#[test]
fn what_is_shown_is_read_back() {
    let values = [
        Value::Simple("OK".into()),
        Value::Error("ERR unknown \"x\" \n".into()),
        Value::Int(-7),
        Value::bulk(*b"a \"b\" \\ \r\n\x00\xff"),
        Value::NilBulk,
        Value::NilArray,
        Value::Double("1.5".into()),
        Value::Verbatim("txt".into(), "a)b".into()),
        Value::Array(vec![Value::Simple("OK".into()), Value::Error("ERR a b".into())]),
        Value::Map(vec![Value::bulk("k"), Value::Set(vec![Value::Bool(true), Value::Null])]),
        Value::Array(vec![Value::bulk("x".repeat(90)), Value::Push(vec![]), Value::Int(1)]),
    ];
    for value in values {
        let shown = value.pretty();
        assert!(Expect::parse(&shown).unwrap().matches(&Ok(value)), "{shown}");
    }
    let long = Value::bulk("x".repeat(1000));
    assert!(Expect::parse(&long.pretty()).unwrap().matches(&Ok(long)));
}

#[test]
fn wildcards_match_what_they_should_and_nothing_else() {
    let matches = |text: &str, value: Value| Expect::parse(text).unwrap().matches(&Ok(value));
    let array = |names: &[&str]| Value::Array(names.iter().map(|n| Value::bulk(*n)).collect());
    assert!(matches("*", Value::Int(1)));
    assert!(matches(":1..3", Value::Int(3)));
    assert!(!matches(":1..3", Value::Int(4)));
    assert!(matches("(like \"a*c\")", Value::bulk("abbc")));
    assert!(!matches("(like \"a*c\")", Value::bulk("abbcd")));
    assert!(matches("~[\"a\" \"b\"]", array(&["b", "a"])));
    assert!(!matches("~[\"a\" \"b\"]", array(&["b", "b"])));
    assert!(!matches("[\"a\" \"b\"]", array(&["b", "a"])));
    assert!(matches("~2[\"a\" \"1\" \"b\" \"2\"]", array(&["b", "2", "a", "1"])));
    assert!(!matches("~2[\"a\" \"1\" \"b\" \"2\"]", array(&["b", "1", "a", "2"])));
    assert!(Expect::parse("[\"a\"").is_err());
    assert!(Expect::parse("\"a\" \"b\"").is_err());
}
