//! Encodes replies into an [`OutQueue`], in RESP2 or RESP3.

use super::out::{LargeReply, OutQueue};
use crate::util::float::DoubleText;

/// The protocol version that a connection chose by HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2, the default.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

/// Writes one connection's replies. Aggregates announce their length first: the caller then
/// writes exactly as many elements (twice as many for a map in either protocol).
pub struct Reply<'a> {
    queue: &'a mut OutQueue,
    protocol: Protocol,
}

impl<'a> Reply<'a> {
    /// Replies go to the end of `queue`.
    #[inline]
    pub fn new(queue: &'a mut OutQueue, protocol: Protocol) -> Reply<'a> {
        Reply { queue, protocol }
    }

    /// The protocol replies are written in.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// From now on replies are written in `protocol` (HELLO).
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// The queue behind this encoder.
    pub fn queue(&mut self) -> &mut OutQueue {
        self.queue
    }

    #[inline]
    fn is3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// Bytes that are already encoded.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.queue.buf_mut().extend_from_slice(bytes);
    }

    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A simple string; must hold no line break.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.line(b'+', text.as_bytes());
    }

    /// An error. `text` starts with its code (`ERR ...`, `WRONGTYPE ...`); line breaks at its
    /// end are cut off, those within become spaces.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// As [`Reply::error`], for a text that repeats bytes of the request.
    pub fn error_bytes(&mut self, text: &[u8]) {
        let is_break = |byte: u8| matches!(byte, b'\r' | b'\n');
        let end = text.iter().rposition(|&byte| !is_break(byte)).map_or(0, |last| last + 1);
        let buf = self.queue.buf_mut();
        buf.push(b'-');
        buf.extend(text[..end].iter().map(|&byte| if is_break(byte) { b' ' } else { byte }));
        buf.extend_from_slice(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        self.number(b':', value);
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        let buf = self.queue.buf_mut();
        buf.reserve(bytes.len() + 16);
        push_header(buf, b'$', bytes.len() as i64);
        buf.extend_from_slice(bytes);
        buf.extend_from_slice(b"\r\n");
    }

    /// A bulk string that is sent from where it lies, without a copy.
    pub fn bulk_large(&mut self, value: Box<dyn LargeReply>) {
        let len = value.bytes().len();
        self.number(b'$', len as i64);
        self.queue.push_large(value);
        self.raw(b"\r\n");
    }

    /// A number as a bulk string.
    pub fn bulk_int(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Nil: `_` in RESP3, a null bulk in RESP2.
    #[inline]
    pub fn nil(&mut self) {
        if self.is3() { self.raw(b"_\r\n") } else { self.raw(b"$-1\r\n") }
    }

    /// Nil where RESP2 clients expect a null array.
    pub fn nil_array(&mut self) {
        if self.is3() { self.raw(b"_\r\n") } else { self.raw(b"*-1\r\n") }
    }

    /// An array of `len` elements follows.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.number(b'*', len as i64);
    }

    /// A map of `pairs` keys and values follows (a flat array in RESP2).
    pub fn map(&mut self, pairs: usize) {
        if self.is3() {
            self.number(b'%', pairs as i64);
        } else {
            self.number(b'*', 2 * pairs as i64);
        }
    }

    /// A set of `len` elements follows (an array in RESP2).
    pub fn set(&mut self, len: usize) {
        self.number(if self.is3() { b'~' } else { b'*' }, len as i64);
    }

    /// An out-of-band push of `len` elements follows (an array in RESP2).
    pub fn push(&mut self, len: usize) {
        self.number(if self.is3() { b'>' } else { b'*' }, len as i64);
    }

    /// A boolean (0 or 1 in RESP2).
    pub fn boolean(&mut self, value: bool) {
        match (self.is3(), value) {
            (true, true) => self.raw(b"#t\r\n"),
            (true, false) => self.raw(b"#f\r\n"),
            (false, _) => self.int(value as i64),
        }
    }

    /// A floating-point number (a bulk string in RESP2), written as Redis writes it.
    pub fn double(&mut self, value: f64) {
        let text = DoubleText::new(value);
        if self.is3() { self.line(b',', text.as_bytes()) } else { self.bulk(text.as_bytes()) }
    }

    /// A verbatim string with its three-letter format (a bulk string in RESP2).
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3);
        if !self.is3() {
            return self.bulk(text);
        }
        let buf = self.queue.buf_mut();
        push_header(buf, b'=', text.len() as i64 + 4);
        buf.extend_from_slice(format.as_bytes());
        buf.push(b':');
        buf.extend_from_slice(text);
        buf.extend_from_slice(b"\r\n");
    }

    /// A big number given in decimal digits (a bulk string in RESP2).
    pub fn big_number(&mut self, digits: &str) {
        if self.is3() { self.line(b'(', digits.as_bytes()) } else { self.bulk(digits.as_bytes()) }
    }

    #[inline]
    fn number(&mut self, kind: u8, value: i64) {
        push_header(self.queue.buf_mut(), kind, value);
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        let buf = self.queue.buf_mut();
        buf.push(kind);
        buf.extend_from_slice(text);
        buf.extend_from_slice(b"\r\n");
    }
}

/// Appends `kind`, the number and the line end. One or two digits are the commonest cases.
#[inline(always)]
fn push_header(buf: &mut Vec<u8>, kind: u8, value: i64) {
    match value {
        0..10 => buf.extend_from_slice(&[kind, b'0' + value as u8, b'\r', b'\n']),
        10..100 => {
            let (tens, ones) = (b'0' + value as u8 / 10, b'0' + value as u8 % 10);
            buf.extend_from_slice(&[kind, tens, ones, b'\r', b'\n']);
        }
        _ => push_long_header(buf, kind, value),
    }
}

fn push_long_header(buf: &mut Vec<u8>, kind: u8, value: i64) {
    buf.push(kind);
    buf.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    buf.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Value(&'static [u8]);
    impl LargeReply for Value {
        fn bytes(&self) -> &[u8] {
            self.0
        }
    }

    fn written(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> String {
        let mut queue = OutQueue::default();
        write(&mut Reply::new(&mut queue, protocol));
        let (pieces, count) = queue.pieces::<8>(0);
        String::from_utf8_lossy(&pieces[..count].concat()).into_owned()
    }

    fn both(write: impl Fn(&mut Reply<'_>)) -> [String; 2] {
        [written(Protocol::Resp2, &write), written(Protocol::Resp3, &write)]
    }

    #[test]
    fn what_is_the_same_in_both_protocols() {
        let same = |want: &str, write: fn(&mut Reply<'_>)| {
            assert_eq!(both(write), [want, want]);
        };
        same("+OK\r\n", |reply| reply.ok());
        same("+QUEUED\r\n", |reply| reply.simple("QUEUED"));
        same(":0\r\n", |reply| reply.int(0));
        same(":9\r\n:10\r\n", |reply| {
            reply.int(9);
            reply.int(10);
        });
        same(":-1\r\n", |reply| reply.int(-1));
        same(":9223372036854775807\r\n", |reply| reply.int(i64::MAX));
        same(":-9223372036854775808\r\n", |reply| reply.int(i64::MIN));
        same("$0\r\n\r\n", |reply| reply.bulk(b""));
        same("$11\r\nHello World\r\n", |reply| reply.bulk(b"Hello World"));
        same("$2\r\n\r\n\r\n", |reply| reply.bulk(b"\r\n"));
        same("$3\r\n-12\r\n", |reply| reply.bulk_int(-12));
        same("*0\r\n", |reply| reply.array(0));
        same("*1024\r\n", |reply| reply.array(1024));
        same("$5\r\nlarge\r\n:1\r\n", |reply| {
            reply.bulk_large(Box::new(Value(b"large")));
            reply.int(1);
        });
    }

    #[test]
    fn an_error_stays_one_line() {
        let line = |text: &[u8]| written(Protocol::Resp2, |reply| reply.error_bytes(text));
        assert_eq!(line(b"ERR unknown command 'A\r\nb'"), "-ERR unknown command 'A  b'\r\n");
        assert_eq!(line(b"ERR it ends\r\n\n"), "-ERR it ends\r\n");
        assert_eq!(written(Protocol::Resp3, |r| r.error("WRONGTYPE no")), "-WRONGTYPE no\r\n");
    }

    #[test]
    fn types_that_only_resp3_has() {
        assert_eq!(both(|r| r.nil()), ["$-1\r\n", "_\r\n"]);
        assert_eq!(both(|r| r.nil_array()), ["*-1\r\n", "_\r\n"]);
        assert_eq!(both(|r| r.boolean(true)), [":1\r\n", "#t\r\n"]);
        assert_eq!(both(|r| r.boolean(false)), [":0\r\n", "#f\r\n"]);
        assert_eq!(both(|r| r.map(3)), ["*6\r\n", "%3\r\n"]);
        assert_eq!(both(|r| r.set(3)), ["*3\r\n", "~3\r\n"]);
        assert_eq!(both(|r| r.push(2)), ["*2\r\n", ">2\r\n"]);
        let text = b"This is a verbatim\nstring";
        assert_eq!(
            both(|r| r.verbatim("txt", text)),
            ["$25\r\nThis is a verbatim\nstring\r\n", "=29\r\ntxt:This is a verbatim\nstring\r\n"]
        );
        let digits = "1234567999999999999999999999999999999";
        assert_eq!(
            both(|r| r.big_number(digits)),
            [format!("$37\r\n{digits}\r\n"), format!("({digits}\r\n")]
        );
    }

    #[test]
    fn doubles() {
        assert_eq!(both(|r| r.double(3.125)), ["$5\r\n3.125\r\n", ",3.125\r\n"]);
        assert_eq!(both(|r| r.double(2.0)), ["$1\r\n2\r\n", ",2\r\n"]);
        assert_eq!(both(|r| r.double(f64::INFINITY)), ["$3\r\ninf\r\n", ",inf\r\n"]);
        assert_eq!(both(|r| r.double(f64::NEG_INFINITY)), ["$4\r\n-inf\r\n", ",-inf\r\n"]);
    }

    #[test]
    fn hello_changes_the_protocol_between_two_replies() {
        let text = written(Protocol::Resp2, |reply| {
            reply.nil();
            reply.set_protocol(Protocol::Resp3);
            reply.nil();
        });
        assert_eq!(text, "$-1\r\n_\r\n");
    }
}
