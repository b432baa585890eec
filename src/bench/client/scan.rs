//! Finds where replies end, in bytes that come in pieces.
//!
//! Both protocol versions. A reply is complete when its last byte is there; bodies of bulk strings
//! are passed over by their length, so a reply is never gathered in memory, unless the caller
//! wants to see bodies: then one that is not complete stays in the caller's buffer.
//!
//! Invariant: what was reported as consumed is never looked at again; the rest must come first
//! in the next input.
//!
//! Deliberately absent: RESP3's streamed strings and aggregates, which no server sends.

use crate::limits::{BENCH_REPLY_LINE_MAX, STRING_LEN_MAX};
use memchr::memchr;

/// Where in the stream of replies a connection is.
#[derive(Debug)]
pub struct Scanner {
    /// Elements that the present reply still wants; 0 between replies.
    wanted: u64,
    /// Bytes of a body, with its end, still to be passed over.
    skip: usize,
    /// First byte of the present reply.
    kind: u8,
    /// The present reply is absent (`$-1`, `*-1`, `_`).
    nil: bool,
    /// Keep bodies whole for the caller.
    bodies: bool,
}

/// A complete reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Its first byte: `+`, `-`, `:`, `$`, `*` and so on.
    pub kind: u8,
    /// There is no value.
    pub nil: bool,
    /// The line behind the first byte; of a bulk string the body, if bodies are wanted.
    pub text: &'a [u8],
}

impl Reply<'_> {
    /// A push or attributes: no request is answered by it.
    #[inline]
    pub fn is_aside(&self) -> bool {
        matches!(self.kind, b'>' | b'|')
    }
}

/// Bytes that are no reply, quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAReply(pub String);

impl Scanner {
    /// A scanner at the beginning of a stream. With `bodies`, top-level bulk strings are given
    /// whole.
    pub fn new(bodies: bool) -> Scanner {
        Scanner { wanted: 0, skip: 0, kind: 0, nil: false, bodies }
    }

    /// Reads on in `input` until a reply is complete or the input ends. Returns how much was
    /// consumed, and the reply.
    #[inline]
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Option<Reply<'a>>), NotAReply> {
        let mut at = 0;
        loop {
            let mut text: &[u8] = &[];
            if self.skip > 0 {
                let step = self.skip.min(input.len() - at);
                self.skip -= step;
                at += step;
                if self.skip > 0 {
                    return Ok((at, None));
                }
                self.wanted -= 1;
            } else {
                let Some(line) = line_at(input, at)? else { return Ok((at, None)) };
                let Some(found) = self.element(line, &input[at + line.len() + 2..])? else {
                    return Ok((at, None));
                };
                text = found.text;
                at += line.len() + 2 + found.body;
            }
            if self.wanted == 0 {
                return Ok((at, Some(Reply { kind: self.kind, nil: self.nil, text })));
            }
        }
    }

    /// Takes in the element that begins with `line` and has `behind` behind it. `None` if more
    /// input is needed; then nothing has changed.
    #[inline]
    fn element<'a>(
        &mut self,
        line: &'a [u8],
        behind: &'a [u8],
    ) -> Result<Option<Element<'a>>, NotAReply> {
        let Some((&kind, rest)) = line.split_first() else { return Err(quote(line)) };
        let is_top = self.wanted == 0;
        let mut found = Element { text: rest, body: 0 };
        let (mut nil, mut inner) = (kind == b'_', 0);
        let mut skip = 0;
        match kind {
            b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => {}
            b'$' | b'=' | b'!' => match length(rest).ok_or_else(|| quote(line))? {
                None => nil = true,
                Some(len) => match behind.get(..len + 2) {
                    Some(body) => found = Element { text: &body[..len], body: len + 2 },
                    None if self.bodies && is_top => return Ok(None),
                    None => skip = len + 2,
                },
            },
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                let len = length(rest).ok_or_else(|| quote(line))?;
                (nil, inner) = (len.is_none(), each * len.unwrap_or(0) as u64);
            }
            _ => return Err(quote(line)),
        }
        if is_top {
            (self.kind, self.nil, self.wanted) = (kind, nil, 1);
        }
        // Attributes inside a reply belong to the element behind them and take no place; a body
        // that is still to come takes its place when it is there.
        let takes_place = skip == 0 && (kind != b'|' || is_top);
        self.skip = skip;
        self.wanted = self.wanted + inner - u64::from(takes_place);
        Ok(Some(found))
    }
}

/// What an element has beside its line.
struct Element<'a> {
    text: &'a [u8],
    /// Bytes of its body with the end, if that is all there.
    body: usize,
}

/// The line at `at` without its end, if that is there.
#[inline]
fn line_at(input: &[u8], at: usize) -> Result<Option<&[u8]>, NotAReply> {
    let rest = &input[at..];
    match memchr(b'\n', rest) {
        Some(end) if end > 0 && rest[end - 1] == b'\r' => Ok(Some(&rest[..end - 1])),
        Some(end) => Err(quote(&rest[..end])),
        None if rest.len() > BENCH_REPLY_LINE_MAX => Err(quote(rest)),
        None => Ok(None),
    }
}

/// A length: outer `None` if it is none, inner `None` for -1.
#[inline]
fn length(digits: &[u8]) -> Option<Option<usize>> {
    if digits == b"-1" {
        return Some(None);
    }
    let mut value = 0usize;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 || value > STRING_LEN_MAX / 10 {
            return None;
        }
        value = value * 10 + usize::from(digit);
    }
    (!digits.is_empty()).then_some(Some(value))
}

fn quote(bytes: &[u8]) -> NotAReply {
    NotAReply(format!("\"{}\"", bytes[..bytes.len().min(64)].escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind and nil of each reply, with `input` given in pieces of `piece` bytes.
    fn scan(input: &[u8], piece: usize, bodies: bool) -> Result<Vec<(u8, bool, Vec<u8>)>, String> {
        let mut scanner = Scanner::new(bodies);
        let mut found = Vec::new();
        let mut held: Vec<u8> = Vec::new();
        for piece in input.chunks(piece) {
            held.extend_from_slice(piece);
            loop {
                let (used, reply) = scanner.next(&held).map_err(|error| error.0)?;
                let done = reply.is_none();
                found.extend(reply.map(|reply| (reply.kind, reply.nil, reply.text.to_vec())));
                held.drain(..used);
                if done {
                    break;
                }
            }
        }
        assert!(held.is_empty(), "left over: {held:?}");
        Ok(found)
    }

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        let input = b"+OK\r\n:12\r\n$3\r\na\r\n\r\n$-1\r\n*2\r\n$1\r\nx\r\n*1\r\n:1\r\n*0\r\n\
            *-1\r\n-ERR no\r\n_\r\n%1\r\n+a\r\n+b\r\n~2\r\n:1\r\n:2\r\n\
            >2\r\n+p\r\n+q\r\n|1\r\n+a\r\n+b\r\n*2\r\n|1\r\n+c\r\n:1\r\n:7\r\n:8\r\n\
            ,1.5\r\n#t\r\n(99\r\n=5\r\ntxt:x\r\n+END\r\n";
        let kinds = b"+:$$***-_%~>|*,#(=+";
        for piece in 1..=input.len() {
            for bodies in [false, true] {
                let found = scan(input, piece, bodies).expect("all are replies");
                let got: Vec<u8> = found.iter().map(|(kind, ..)| *kind).collect();
                assert_eq!(got, kinds, "pieces of {piece}");
                let nils: Vec<usize> = (0..got.len()).filter(|at| found[*at].1).collect();
                assert_eq!(nils, [3, 6, 8]);
                if bodies {
                    assert_eq!(found[2].2, b"a\r\n");
                }
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bad in [
            &b"hello\r\n"[..],
            b"\r\n",
            b"+OK\n",
            b"$x\r\n",
            b"$\r\n",
            b"$-2\r\n",
            b"*99999999999999999999\r\n",
            b"\n",
        ] {
            assert!(scan(bad, 1, false).is_err(), "{}", bad.escape_ascii());
        }
        let endless = vec![b'+'; BENCH_REPLY_LINE_MAX + 2];
        assert!(scan(&endless, 4096, false).is_err());
    }
}
