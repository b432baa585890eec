//! Finds one request in the bytes of a connection, however they arrive.
//!
//! ```text
//!   *3\r\n  $3\r\n SET\r\n  $1\r\n k\r\n  $70000\r\n | 70000 bytes | \r\n
//!   Start   Length Body     Length Body   Length       Large         LargeEnd   -> Complete
//! ```
//!
//! Invariants: the slice given to [`Request::parse`] starts with the request's first byte and
//! only ever grows at its end; everything before `at` has been understood and is not looked at
//! again; nothing is allocated by an announced number, only by what has arrived.
//!
//! The bytes of a large bulk never belong to the slice: they are received apart, and what
//! follows them (the line end) follows directly on the line with their length.
//!
//! As in Redis, the two bytes behind a bulk and the one behind `\r` are not compared with the
//! line end they should be. Deliberately absent: reading, and what a request means.

mod short;

use super::args::{Args, Span};
use super::error::ProtocolError;
use crate::limits::{
    ARGS_MAX, BULK_DIRECT_MIN, BULK_LEN_DEFAULT, INLINE_MAX, LARGE_HEADROOM, REQUEST_INLINE_KEPT,
    REQUEST_SPANS_KEPT, UNAUTH_ARGS_MAX, UNAUTH_BULK_MAX,
};
use crate::sys::bulk::BulkBuf;
use crate::util::int::parse_i64;
use crate::util::quote;
use short::{SHORT_ARGS_MAX, SHORT_LEN_MAX, short_argument, short_length};

/// What a client may send at most.
#[derive(Clone, Copy, Debug)]
pub struct ParseLimits {
    /// Bytes of one bulk.
    pub bulk_len_max: usize,
    /// Arguments of one request, the name included.
    pub args_max: usize,
    /// Bytes of a line: an inline request or the line of a length.
    pub inline_max: usize,
    /// Until then only small requests are read.
    pub authenticated: bool,
}

impl ParseLimits {
    /// Whether none of them can concern what [`Request::parse_short`] reads.
    #[inline(always)]
    fn allow_short(&self) -> bool {
        self.authenticated && self.bulk_len_max > SHORT_LEN_MAX && self.args_max > SHORT_ARGS_MAX
    }
}

impl Default for ParseLimits {
    fn default() -> ParseLimits {
        ParseLimits {
            bulk_len_max: BULK_LEN_DEFAULT,
            args_max: ARGS_MAX,
            inline_max: INLINE_MAX,
            authenticated: true,
        }
    }
}

/// How far [`Request::parse`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The bytes end within the request. Parse again once there are more.
    Incomplete,
    /// [`Request::args`] are there; [`Request::consumed`] bytes belong to the request.
    Complete,
    /// An argument of `len` bytes follows, too long to be copied. The caller reserves a
    /// [`BulkBuf`] with [`Request::large_headroom`], moves into it what the slice holds from
    /// [`Request::consumed`] on (up to `len` bytes) and receives the rest into it. Then it hands
    /// it to [`Request::large_received`] and parses on, with a slice that goes on directly
    /// behind `consumed` with what follows the bulk.
    LargeBulk {
        /// Bytes of the argument.
        len: usize,
    },
    /// `*0`, `*-1` or a blank line: [`Request::consumed`] bytes that ask for nothing.
    Empty,
    /// The connection must be closed once the error has been sent.
    Error(ProtocolError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// At the first byte.
    Start,
    /// At the line with an argument's length.
    Length,
    /// At the bytes of an argument of this length.
    Body(usize),
    /// At the end of the line that announced a large argument of this length.
    Large(usize),
    /// At the line end behind a large argument.
    LargeEnd,
    /// At the end of the request.
    Done,
}

/// The progress of one request. Reused for the next one after [`Request::reset`], so that the
/// common request costs no allocation.
pub struct Request {
    stage: Stage,
    /// The next byte to look at.
    at: usize,
    /// Bytes behind `at` that are known to hold no line end.
    scanned: usize,
    /// Arguments still to come.
    args_left: usize,
    spans: Vec<Span>,
    /// Bytes of the arguments of an inline request, which are not those of the line.
    inline: Vec<u8>,
    is_inline: bool,
    large: Vec<BulkBuf>,
    /// For each of `large` the index of its argument.
    large_indexes: Vec<usize>,
}

impl Default for Request {
    fn default() -> Request {
        Request::new()
    }
}

impl Request {
    /// A request of which nothing has been read.
    pub fn new() -> Request {
        Request {
            stage: Stage::Start,
            at: 0,
            scanned: 0,
            args_left: 0,
            spans: Vec::new(),
            inline: Vec::new(),
            is_inline: false,
            large: Vec::new(),
            large_indexes: Vec::new(),
        }
    }

    /// Starts on the next request. Memory is kept up to [`REQUEST_SPANS_KEPT`] arguments.
    #[inline]
    pub fn reset(&mut self) {
        self.stage = Stage::Start;
        self.at = 0;
        self.scanned = 0;
        self.args_left = 0;
        self.is_inline = false;
        self.spans.clear();
        if self.spans.capacity() > REQUEST_SPANS_KEPT || self.inline.capacity() != 0 {
            self.shrink();
        }
        if !self.large.is_empty() {
            self.large.clear();
            self.large_indexes.clear();
        }
    }

    #[cold]
    fn shrink(&mut self) {
        self.spans.shrink_to(REQUEST_SPANS_KEPT);
        self.inline.clear();
        self.inline.shrink_to(REQUEST_INLINE_KEPT);
    }

    /// Reads on in `buf`, which starts with the request's first byte and holds at least what it
    /// held at the last call.
    #[inline]
    pub fn parse(&mut self, buf: &[u8], limits: &ParseLimits) -> Step {
        let buf = &buf[..buf.len().min(Span::REACH)];
        debug_assert!(self.at <= buf.len());
        if self.stage == Stage::Start {
            if limits.allow_short() && self.parse_short(buf).is_some() {
                return Step::Complete;
            }
            match buf.first() {
                None => return Step::Incomplete,
                Some(b'*') => match self.start_multibulk(buf, limits) {
                    Ok(None) => {}
                    Ok(Some(step)) => return step,
                    Err(error) => return Step::Error(error),
                },
                Some(_) => return self.parse_inline(buf, limits),
            }
        }
        self.parse_arguments(buf, limits).unwrap_or_else(Step::Error)
    }

    /// The common request: whole, of a few arguments, each of which no limit concerns. Of anything
    /// else nothing is understood.
    #[inline]
    fn parse_short(&mut self, buf: &[u8]) -> Option<()> {
        let [b'*', count @ b'1'..=b'9', b'\r', b'\n', ..] = *buf else { return None };
        let mut at = 4;
        for _ in b'0'..count {
            let Some(span) = short_argument(buf, at) else { break };
            at = span.end_in_buffer() + 2;
            self.spans.push(span);
        }
        if self.spans.len() != usize::from(count - b'0') || at > buf.len() {
            self.spans.clear();
            return None;
        }
        self.at = at;
        self.stage = Stage::Done;
        Some(())
    }

    /// Bytes of the slice that were understood; of a complete request, all its bytes but those
    /// of large bulks.
    #[inline]
    pub fn consumed(&self) -> usize {
        self.at
    }

    /// The arguments of a complete request. `buf` is the slice it was parsed from.
    #[inline]
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        Args::new(if self.is_inline { &self.inline } else { buf }, &self.spans, &self.large)
    }

    /// Bytes to leave free in front of the large bulk that was just announced: enough for the
    /// header of an entry and for the argument before it, which is the key if this is a value.
    pub fn large_headroom(&self) -> usize {
        let key_len = self.spans.last().map_or(0, |span| match span.large_index() {
            Some(index) => self.large[index].filled_len(),
            None => span.len_in_buffer(),
        });
        LARGE_HEADROOM + key_len
    }

    /// Takes the large argument that was announced by [`Step::LargeBulk`], complete.
    pub fn large_received(&mut self, bulk: BulkBuf) {
        debug_assert_eq!(self.stage, Stage::Large(bulk.filled_len()));
        self.large_indexes.push(self.spans.len());
        self.spans.push(Span::large(self.large.len()));
        self.large.push(bulk);
        self.args_left -= 1;
        self.stage = Stage::LargeEnd;
    }

    /// Whether an argument was received apart.
    #[inline(always)]
    pub fn has_large(&self) -> bool {
        !self.large.is_empty()
    }

    /// Moves large argument `index` out, so that it can become an entry; the argument is empty
    /// from then on. `None` if that argument is not a large one.
    pub fn take_large(&mut self, index: usize) -> Option<BulkBuf> {
        let place = self.spans.get(index)?.large_index()?;
        let bulk = self.large.swap_remove(place);
        self.large_indexes.swap_remove(place);
        self.spans[index] = Span::new(0, 0);
        if let Some(&moved) = self.large_indexes.get(place) {
            self.spans[moved] = Span::large(place);
        }
        Some(bulk)
    }

    /// Bytes of memory held, large arguments included.
    pub fn heap_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
            + self.inline.capacity()
            + self.large.capacity() * size_of::<BulkBuf>()
            + self.large_indexes.capacity() * size_of::<usize>()
            + self.large_bytes()
    }

    /// Bytes of the large arguments.
    pub fn large_bytes(&self) -> usize {
        self.large.iter().map(BulkBuf::filled_len).sum()
    }

    /// Reads the line `*N`; returns a step if that is as far as it gets.
    #[inline]
    fn start_multibulk(
        &mut self,
        buf: &[u8],
        limits: &ParseLimits,
    ) -> Result<Option<Step>, ProtocolError> {
        let count = match short_length(buf, 0, b'*') {
            Some((count, behind)) => {
                self.step_over_line(behind);
                count as i64
            }
            None => match self.length_line(buf, limits, ProtocolError::MultibulkLine)? {
                Some(line) => parse_i64(line).ok_or(ProtocolError::MultibulkLength)?,
                None => return Ok(Some(Step::Incomplete)),
            },
        };
        if count > limits.args_max as i64 {
            return Err(ProtocolError::MultibulkLength);
        }
        if count > UNAUTH_ARGS_MAX as i64 && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulk);
        }
        if count <= 0 {
            self.stage = Stage::Done;
            return Ok(Some(Step::Empty));
        }
        self.args_left = count as usize;
        self.stage = Stage::Length;
        Ok(None)
    }

    #[inline]
    fn parse_arguments(&mut self, buf: &[u8], limits: &ParseLimits) -> Result<Step, ProtocolError> {
        loop {
            match self.stage {
                Stage::Length => {
                    if self.args_left == 0 {
                        self.stage = Stage::Done;
                        return Ok(Step::Complete);
                    }
                    let Some(len) = self.bulk_length(buf, limits)? else {
                        return Ok(Step::Incomplete);
                    };
                    self.stage =
                        if len > BULK_DIRECT_MIN { Stage::Large(len) } else { Stage::Body(len) };
                }
                Stage::Body(len) => {
                    if buf.len() - self.at < len + 2 {
                        return Ok(Step::Incomplete);
                    }
                    self.spans.push(Span::new(self.at, len));
                    self.at += len + 2;
                    self.args_left -= 1;
                    self.stage = Stage::Length;
                }
                Stage::Large(len) => return Ok(Step::LargeBulk { len }),
                Stage::LargeEnd => {
                    if buf.len() - self.at < 2 {
                        return Ok(Step::Incomplete);
                    }
                    self.at += 2;
                    self.stage = Stage::Length;
                }
                Stage::Start | Stage::Done => return Ok(Step::Complete),
            }
        }
    }

    /// Reads the line `$N`, if it is there.
    #[inline]
    fn bulk_length(
        &mut self,
        buf: &[u8],
        limits: &ParseLimits,
    ) -> Result<Option<usize>, ProtocolError> {
        let len = match short_length(buf, self.at, b'$') {
            Some((len, behind)) => {
                self.step_over_line(behind);
                len
            }
            None => {
                let start = self.at;
                let Some(line) = self.length_line(buf, limits, ProtocolError::BulkLine)? else {
                    return Ok(None);
                };
                if buf[start] != b'$' {
                    return Err(ProtocolError::ExpectedBulk(buf[start]));
                }
                let len = parse_i64(line).ok_or(ProtocolError::BulkLength)?;
                usize::try_from(len).map_err(|_| ProtocolError::BulkLength)?
            }
        };
        if len > limits.bulk_len_max {
            return Err(ProtocolError::BulkLength);
        }
        if len > UNAUTH_BULK_MAX && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedBulk);
        }
        Ok(Some(len))
    }

    /// What stands between the first byte of the line at `at` and its end, once the line and
    /// the byte behind its `\r` have arrived; steps over them.
    #[cold]
    fn length_line<'b>(
        &mut self,
        buf: &'b [u8],
        limits: &ParseLimits,
        endless: ProtocolError,
    ) -> Result<Option<&'b [u8]>, ProtocolError> {
        let start = self.at;
        let Some(len) = self.find_line_end(b'\r', buf, limits.inline_max, endless)? else {
            return Ok(None);
        };
        if buf.len() - start < len + 2 {
            return Ok(None);
        }
        self.step_over_line(start + len + 2);
        // An empty line has no first byte: the caller sees its `\r` and refuses it.
        Ok(Some(&buf[start + len.min(1)..start + len]))
    }

    #[inline]
    fn step_over_line(&mut self, behind: usize) {
        self.at = behind;
        self.scanned = 0;
    }

    /// Length of the line at `at` without its `end`, or `None` if that has not arrived.
    fn find_line_end(
        &mut self,
        end: u8,
        buf: &[u8],
        len_max: usize,
        endless: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let line = &buf[self.at..];
        let line = &line[..line.len().min(len_max + 1)];
        match memchr::memchr(end, &line[self.scanned..]) {
            Some(found) => {
                // The end may be looked up once more, when the byte behind it has arrived.
                self.scanned += found;
                Ok(Some(self.scanned))
            }
            None if line.len() > len_max => Err(endless),
            None => {
                self.scanned = line.len();
                Ok(None)
            }
        }
    }

    /// Reads a request that is a plain line of words.
    #[cold]
    fn parse_inline(&mut self, buf: &[u8], limits: &ParseLimits) -> Step {
        let end = self.find_line_end(b'\n', buf, limits.inline_max, ProtocolError::InlineLine);
        let line = match end {
            Ok(Some(len)) => &buf[..len],
            Ok(None) => return Step::Incomplete,
            Err(error) => return Step::Error(error),
        };
        self.at = line.len() + 1;
        self.stage = Stage::Done;
        self.is_inline = true;
        let spans = &mut self.spans;
        let mut start = 0;
        let split = quote::split_args_into(line, &mut self.inline, |arg| {
            spans.push(Span::new(start, arg.len()));
            start += arg.len();
        });
        match split {
            Err(quote::UnbalancedQuotes) => Step::Error(ProtocolError::UnbalancedQuotes),
            Ok(()) if self.spans.is_empty() => Step::Empty,
            Ok(()) => Step::Complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    /// A request's arguments, or the error that ends the connection.
    type Outcome = Result<Vec<Vec<u8>>, ProtocolError>;

    /// What a connection does: keeps the bytes of one request, receives large bulks apart.
    struct Connection<'a> {
        chunks: std::slice::Iter<'a, &'a [u8]>,
        buf: Vec<u8>,
        request: Request,
        outcomes: Vec<Outcome>,
    }

    impl Connection<'_> {
        /// All requests in `chunks`, which are parsed as they arrive one by one.
        fn run(chunks: &[&[u8]], limits: &ParseLimits) -> Vec<Outcome> {
            let mut connection = Connection {
                chunks: chunks.iter(),
                buf: Vec::new(),
                request: Request::new(),
                outcomes: Vec::new(),
            };
            while connection.step(limits) {}
            connection.outcomes
        }

        fn step(&mut self, limits: &ParseLimits) -> bool {
            match self.request.parse(&self.buf, limits) {
                Step::Incomplete => match self.chunks.next() {
                    Some(chunk) => {
                        self.buf.extend_from_slice(chunk);
                        true
                    }
                    None => false,
                },
                Step::LargeBulk { len } => self.receive_large(len),
                Step::Complete => {
                    let args = self.request.args(&self.buf);
                    self.outcomes.push(Ok(args.iter_from(0).map(<[u8]>::to_vec).collect()));
                    self.next_request()
                }
                Step::Empty => self.next_request(),
                Step::Error(error) => {
                    self.outcomes.push(Err(error));
                    false
                }
            }
        }

        fn next_request(&mut self) -> bool {
            self.buf.drain(..self.request.consumed());
            self.request.reset();
            true
        }

        fn receive_large(&mut self, len: usize) -> bool {
            let at = self.request.consumed();
            let mut bulk = BulkBuf::reserve(self.request.large_headroom(), len).expect("room");
            let there = len.min(self.buf.len() - at);
            bulk.extend(&self.buf[at..at + there]);
            self.buf.drain(at..at + there);
            while !bulk.is_full() {
                let Some(chunk) = self.chunks.next() else { return false };
                let (body, rest) = chunk.split_at(chunk.len().min(len - bulk.filled_len()));
                bulk.extend(body);
                self.buf.extend_from_slice(rest);
            }
            self.request.large_received(bulk);
            true
        }
    }

    fn run(data: &[u8]) -> Vec<Outcome> {
        Connection::run(&[data], &ParseLimits::default())
    }

    fn words(args: &[&str]) -> Outcome {
        Ok(args.iter().map(|arg| arg.as_bytes().to_vec()).collect())
    }

    fn encode(args: &[&[u8]], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
        for arg in args {
            out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            out.extend_from_slice(arg);
            out.extend_from_slice(b"\r\n");
        }
    }

    #[test]
    fn requests_and_what_lies_between_them() {
        let data = b"*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\n*0\r\n*-1\r\n\r\n \n*-5\r\nPING\nGET k\r\n\
            *1\r\n$0\r\n\r\nSET k \"a\\x41 \\n\"\r\n*1\rX$4\rYPINGab\
            *1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPI";
        let want = [
            words(&["ECHO", "\r\n"]),
            words(&["PING"]),
            words(&["GET", "k"]),
            words(&[""]),
            words(&["SET", "k", "aA \n"]),
            words(&["PING"]),
            words(&["QUIT"]),
        ];
        assert_eq!(run(data), want);
    }

    /// Redis' answers, all of them followed by a close.
    #[test]
    fn what_cannot_be_read_on_is_refused_as_redis_does() {
        use ProtocolError::{BulkLength, ExpectedBulk, MultibulkLength, UnbalancedQuotes};
        let cases: &[(&[u8], ProtocolError)] = &[
            (b"*abc\r\n", MultibulkLength),
            (b"*\r\n", MultibulkLength),
            (b"*99999999999\r\n", MultibulkLength),
            (b"*9223372036854775808\r\n", MultibulkLength),
            (b"*-9223372036854775809\r\n", MultibulkLength),
            (b"*1048577\r\n", MultibulkLength),
            (b"*1 $abc\r\nPING\r\n", MultibulkLength),
            (b"*01\r\n", MultibulkLength),
            (b"*+1\r\n", MultibulkLength),
            (b"* 1\r\n", MultibulkLength),
            (b"*-0\r\n", MultibulkLength),
            (b"*00\r\n", MultibulkLength),
            (b"*1\r\n$abc\r\n", BulkLength),
            (b"*1\r\n$\r\n", BulkLength),
            (b"*1\r\n$99999999999\r\n", BulkLength),
            (b"*1\r\n$536870913\r\n", BulkLength),
            (b"*1\r\n$-1\r\n", BulkLength),
            (b"*1\r\n$-5\r\n", BulkLength),
            (b"*1\r\n$04\r\nPING\r\n", BulkLength),
            (b"*1\r\n$+4\r\nPING\r\n", BulkLength),
            (b"*2\r\n$3\r\nGET\r\n:5\r\n", ExpectedBulk(b':')),
            (b"*1\r\n*1\r\n", ExpectedBulk(b'*')),
            (b"*1\r\n\r\n", ExpectedBulk(b'\r')),
            (b"*1\r\n\xff\r\n", ExpectedBulk(0xff)),
            (b"ECHO \"abc\r\n", UnbalancedQuotes),
            (b"'\r\n", UnbalancedQuotes),
        ];
        for (data, error) in cases {
            assert_eq!(run(data), [Err(*error)], "{}", data.escape_ascii());
        }
    }

    #[test]
    fn the_texts_of_errors() {
        let text = |error: ProtocolError| {
            let mut out = Vec::new();
            error.write_to(&mut out);
            out.escape_ascii().to_string()
        };
        assert_eq!(
            text(ProtocolError::MultibulkLength),
            r"-ERR Protocol error: invalid multibulk length\r\n"
        );
        for (byte, shown) in [(b':', ":"), (b'\r', " "), (b'\n', " "), (0xff, "\\xff")] {
            let want = format!(r"-ERR Protocol error: expected \'$\', got \'{shown}\'\r\n");
            assert_eq!(text(ProtocolError::ExpectedBulk(byte)), want);
        }
        for error in [ProtocolError::UnbalancedQuotes, ProtocolError::ExpectedBulk(b'\r')] {
            let mut reply = Vec::new();
            error.write_to(&mut reply);
            assert_eq!(reply, format!("-ERR {error}\r\n").as_bytes());
        }
    }

    #[test]
    fn a_line_may_be_64_kib_long() {
        let long = |start: &str, len: usize, end: &str| {
            let mut line = start.as_bytes().to_vec();
            let word = line.len() - start.rfind('\n').map_or(0, |at| at + 1);
            line.resize(start.len() - word + len, b'1');
            line.extend_from_slice(end.as_bytes());
            run(&line)
        };
        for (start, error) in [
            ("a", ProtocolError::InlineLine),
            ("*", ProtocolError::MultibulkLine),
            ("*1\r\n$", ProtocolError::BulkLine),
            ("*1\r\n:", ProtocolError::BulkLine),
        ] {
            assert_eq!(long(start, INLINE_MAX, ""), [], "{start}");
            assert_eq!(long(start, INLINE_MAX + 1, ""), [Err(error)], "{start}");
            // The line end comes too late, wherever the bytes were cut.
            assert_eq!(long(start, INLINE_MAX + 1, "\r\n"), [Err(error)], "{start}");
        }
        assert_eq!(long("a", INLINE_MAX - 1, "\r\n").len(), 1);
        assert_eq!(long("*", INLINE_MAX - 1, "\r\n"), [Err(ProtocolError::MultibulkLength)]);
        assert_eq!(long("*1\r\n$", INLINE_MAX - 1, "\r\n"), [Err(ProtocolError::BulkLength)]);
    }

    #[test]
    fn only_small_requests_are_read_before_authentication() {
        let limits = ParseLimits { authenticated: false, ..ParseLimits::default() };
        let run = |data: &[u8]| Connection::run(&[data], &limits);
        assert_eq!(run(b"*10\r\n"), []);
        assert_eq!(run(b"*11\r\n"), [Err(ProtocolError::UnauthenticatedMultibulk)]);
        assert_eq!(run(b"*99999999999\r\n"), [Err(ProtocolError::MultibulkLength)]);
        assert_eq!(run(b"*1\r\n$16384\r\n"), []);
        assert_eq!(run(b"*1\r\n$16385\r\n"), [Err(ProtocolError::UnauthenticatedBulk)]);
        assert_eq!(run(b"*1\r\n$99999999999\r\n"), [Err(ProtocolError::BulkLength)]);
        assert_eq!(run(b"*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"), [words(&["AUTH", "pw"])]);
    }

    /// Requests of every kind, some with arguments on both sides of the limit for large bulks.
    fn mixed_requests() -> Vec<u8> {
        let mut data = Vec::new();
        let value = vec![b'v'; BULK_DIRECT_MIN + 1];
        let key = vec![b'k'; BULK_DIRECT_MIN + 5];
        encode(&[b"PING"], &mut data);
        encode(&[b"SET", &key, &value], &mut data);
        data.extend_from_slice(b"SET \"a b\" 'c'\r\n\r\n*0\r\n");
        encode(&[b"SET", b"k", &value[1..]], &mut data);
        encode(&[&value, b"", b"x"], &mut data);
        data.extend_from_slice(b"*1\r\n:5\r\n");
        data
    }

    #[test]
    fn a_cut_at_any_byte_changes_nothing() {
        let data = mixed_requests();
        let want = run(&data);
        assert_eq!(want.len(), 6);
        for cut in 0..data.len() {
            // Inside the long runs of one letter, cuts are alike.
            if cut > 2 && data[cut - 2..=cut].iter().all(|&b| b == data[cut]) && cut % 997 != 0 {
                continue;
            }
            let (head, tail) = data.split_at(cut);
            let got = Connection::run(&[head, tail], &ParseLimits::default());
            assert_eq!(got, want, "cut at {cut}");
        }
    }

    #[test]
    fn random_bytes_parse_alike_however_they_are_cut() {
        let seed = 0x5e5b;
        let mut rng = SplitMix64::new(seed);
        let limits = ParseLimits { inline_max: 40, ..ParseLimits::default() };
        let parts: &[&[u8]] = &[
            b"*1\r\n",
            b"*2\r\n",
            b"$1\r\n",
            b"$3\r\nabc\r\n",
            b"x",
            b"\r\n",
            b"\n",
            b"\r",
            b"\"",
            b"'",
            b"*",
            b"$",
            b"-",
            b"0",
            b"7",
            b" ",
            b"PING\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"\\",
        ];
        for round in 0..20_000 {
            let mut data = Vec::new();
            for _ in 0..rng.below(20) {
                data.extend_from_slice(parts[rng.below(parts.len() as u64) as usize]);
            }
            let want = Connection::run(&[&data], &limits);
            let mut chunks = Vec::new();
            let mut rest = &data[..];
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(1 + rng.below(rest.len() as u64) as usize);
                chunks.push(head);
                rest = tail;
            }
            let got = Connection::run(&chunks, &limits);
            assert_eq!(got, want, "{}, round {round}, {seed:#x}", data.escape_ascii());
        }
    }

    /// What was understood may change under the parser: it is not looked at again.
    #[test]
    fn nothing_is_parsed_twice() {
        let mut data = Vec::new();
        encode(&[b"MSET", b"key", b"value", b"k2", b"v2"], &mut data);
        let (mut request, limits) = (Request::new(), ParseLimits::default());
        for len in 0..data.len() {
            let mut seen = data[..len].to_vec();
            seen[..request.consumed()].fill(b'?');
            assert_eq!(request.parse(&seen, &limits), Step::Incomplete, "{len} bytes");
        }
        assert_eq!(request.parse(&data, &limits), Step::Complete);
        assert_eq!(request.consumed(), data.len());
        assert_eq!(request.args(&data).get(4), b"v2");
    }

    #[test]
    fn announcements_cost_no_memory() {
        let mut request = Request::new();
        let limits = ParseLimits::default();
        assert_eq!(request.parse(b"*1048576\r\n$3\r\n", &limits), Step::Incomplete);
        assert!(request.heap_bytes() < 1024);
        request.reset();
        let step = request.parse(b"*1\r\n$536870912\r\nabc", &limits);
        assert_eq!(step, Step::LargeBulk { len: 536_870_912 });
        assert_eq!(request.consumed(), 16);
        assert!(request.heap_bytes() < 1024);
    }

    #[test]
    fn a_reused_request_allocates_nothing_and_keeps_little() {
        let (mut request, limits) = (Request::new(), ParseLimits::default());
        let mut large = Vec::new();
        encode(&vec![&b"x"[..]; 50_000], &mut large);
        assert_eq!(request.parse(&large, &limits), Step::Complete);
        assert!(request.heap_bytes() > 50_000 * size_of::<Span>());
        request.reset();
        let kept = request.heap_bytes();
        assert!(kept <= REQUEST_SPANS_KEPT * size_of::<Span>() + REQUEST_INLINE_KEPT);
        for _ in 0..10 {
            let data = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
            assert_eq!(request.parse(data, &limits), Step::Complete);
            request.reset();
        }
        assert_eq!(request.heap_bytes(), kept);
    }

    #[test]
    fn large_arguments_are_found_and_taken_by_their_index() {
        let len = BULK_DIRECT_MIN + 1;
        let head = format!("*6\r\n$4\r\nMSET\r\n${len}\r\n");
        let mut buf = head.into_bytes();
        let (mut request, limits) = (Request::new(), ParseLimits::default());
        for (letter, headroom) in [(b'a', 4), (b'b', len), (b'c', len), (b'd', 2)] {
            assert_eq!(request.parse(&buf, &limits), Step::LargeBulk { len });
            assert_eq!(request.consumed(), buf.len());
            assert_eq!(request.large_headroom(), LARGE_HEADROOM + headroom);
            let mut bulk = BulkBuf::reserve(request.large_headroom(), len).expect("room");
            bulk.extend(&vec![letter; len]);
            request.large_received(bulk);
            // Behind the third a small argument comes in between.
            let small = if letter == b'c' { "$2\r\nxy\r\n" } else { "" };
            let next = if letter == b'd' { String::new() } else { format!("{small}${len}\r\n") };
            buf.extend_from_slice(format!("\r\n{next}").as_bytes());
        }
        assert_eq!(request.parse(&buf, &limits), Step::Complete);
        assert!(request.heap_bytes() >= 4 * len);
        let first = |request: &Request, index| request.args(&buf).get(index).first().copied();
        assert!(request.take_large(0).is_none());
        assert!(request.take_large(4).is_none());
        assert!(request.take_large(6).is_none());
        assert_eq!(request.take_large(1).map(|bulk| bulk.filled()[0]), Some(b'a'));
        assert!(request.take_large(1).is_none());
        assert_eq!(first(&request, 1), None);
        assert_eq!(first(&request, 2), Some(b'b'));
        assert_eq!(request.take_large(5).map(|bulk| bulk.filled()[0]), Some(b'd'));
        assert_eq!(first(&request, 3), Some(b'c'));
        assert_eq!(request.take_large(3).map(|bulk| bulk.filled()[0]), Some(b'c'));
        assert_eq!(request.take_large(2).map(|bulk| bulk.filled()[0]), Some(b'b'));
        assert_eq!(request.args(&buf).get(4), b"xy");
        assert_eq!(request.args(&buf).total_len(), 6);
    }
}
