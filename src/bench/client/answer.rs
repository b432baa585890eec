//! Replies as values, for the few questions that are asked before and after a run.
//!
//! Deliberately absent: speed. What is measured goes through the scanner.

use super::scan::NotAReply;
use crate::limits::BENCH_ANSWER_DEPTH_MAX;

/// One reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A status, or any other line that is neither number nor error.
    Text(String),
    /// An error, with its code.
    Error(String),
    /// An integer.
    Int(i64),
    /// A bulk string.
    Bulk(Vec<u8>),
    /// No value.
    Nil,
    /// An array, a set, or a map as a flat list.
    List(Vec<Answer>),
}

impl Answer {
    /// The first reply in `bytes` and its length; `None` if more bytes are needed.
    pub fn read(bytes: &[u8]) -> Result<Option<(Answer, usize)>, NotAReply> {
        let mut at = 0;
        Ok(read_at(bytes, &mut at, 0)?.map(|answer| (answer, at)))
    }

    /// What it says, if it is a string of any kind.
    pub fn text(&self) -> Option<String> {
        match self {
            Answer::Text(text) | Answer::Error(text) => Some(text.clone()),
            Answer::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// Its elements, if it is a list.
    pub fn list(&self) -> &[Answer] {
        if let Answer::List(list) = self { list } else { &[] }
    }

    /// Its number, if it is one.
    pub fn int(&self) -> Option<i64> {
        if let Answer::Int(int) = self { Some(*int) } else { None }
    }
}

fn read_at(bytes: &[u8], at: &mut usize, depth: usize) -> Result<Option<Answer>, NotAReply> {
    let bad = |what: &str| NotAReply(format!("{what} at byte {}", *at));
    if depth > BENCH_ANSWER_DEPTH_MAX {
        return Err(bad("too deep a nesting"));
    }
    let rest = &bytes[*at..];
    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let line = String::from_utf8_lossy(&rest[..end]).into_owned();
    let Some(kind) = line.chars().next().filter(char::is_ascii) else {
        return Err(bad("an empty line"));
    };
    let text = &line[1..];
    let number = || text.parse::<i64>().map_err(|_| bad("a bad number"));
    let behind = *at + end + 2;
    let answer = match kind {
        '+' | ',' | '#' | '(' => Answer::Text(text.to_owned()),
        '-' => Answer::Error(text.to_owned()),
        ':' => Answer::Int(number()?),
        '_' => Answer::Nil,
        '$' | '=' | '!' => {
            let Ok(len) = usize::try_from(number()?) else {
                *at = behind;
                return Ok(Some(Answer::Nil));
            };
            let Some(body) = bytes.get(behind..behind.saturating_add(len)) else { return Ok(None) };
            if bytes.len() < behind + len + 2 {
                return Ok(None);
            }
            *at = behind + len + 2;
            return Ok(Some(Answer::Bulk(body.to_vec())));
        }
        '*' | '~' | '>' | '%' => {
            let Ok(len) = usize::try_from(number()?) else {
                *at = behind;
                return Ok(Some(Answer::Nil));
            };
            *at = behind;
            let len = len.saturating_mul(if kind == '%' { 2 } else { 1 });
            let mut list = Vec::new();
            for _ in 0..len {
                let Some(inner) = read_at(bytes, at, depth + 1)? else { return Ok(None) };
                list.push(inner);
            }
            return Ok(Some(Answer::List(list)));
        }
        _ => return Err(bad("an unknown kind of reply")),
    };
    *at = behind;
    Ok(Some(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_become_values_once_they_are_whole() {
        let input = b"*3\r\n:1\r\n$2\r\nab\r\n%1\r\n+k\r\n_\r\n-ERR";
        for end in 0..input.len() - 4 {
            assert_eq!(Answer::read(&input[..end]), Ok(None), "{end}");
        }
        let (answer, used) = Answer::read(input).expect("a reply").expect("it is whole");
        assert_eq!(used, input.len() - 4);
        let inner = Answer::List(vec![Answer::Text("k".into()), Answer::Nil]);
        let expected = vec![Answer::Int(1), Answer::Bulk(b"ab".to_vec()), inner];
        assert_eq!(answer, Answer::List(expected));
        assert!(Answer::read(b"?\r\n").is_err());
        assert!(Answer::read(&b"*1\r\n".repeat(100)).is_err());
    }
}
