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

use super::args::{Args, Span};
use super::error::ProtocolError;
use crate::limits::{
    ARGS_MAX, BULK_DIRECT_MIN, BULK_LEN_DEFAULT, INLINE_MAX, LARGE_HEADROOM, REQUEST_INLINE_KEPT,
    REQUEST_SPANS_KEPT, UNAUTH_ARGS_MAX, UNAUTH_BULK_MAX,
};
use crate::sys::bulk::BulkBuf;
use crate::util::int::parse_i64;
use crate::util::quote;

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
            + self.large.iter().map(BulkBuf::filled_len).sum::<usize>()
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

/// The common line of a length: `kind`, a few digits, `\r` and one more byte. Returns the number
/// and where the line ends. `None` stands for everything else, an incomplete line included.
#[inline]
fn short_length(buf: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    const DIGITS_MAX: usize = 9;
    let line = buf.get(at..)?;
    if *line.first()? != kind {
        return None;
    }
    let mut value = usize::from(line.get(1)?.wrapping_sub(b'0'));
    if value > 9 {
        return None;
    }
    for len in 2..DIGITS_MAX + 2 {
        let byte = *line.get(len)?;
        if byte == b'\r' {
            return (len + 1 < line.len()).then_some((value, at + len + 2));
        }
        let digit = usize::from(byte.wrapping_sub(b'0'));
        if digit > 9 || value == 0 {
            return None;
        }
        value = value * 10 + digit;
    }
    None
}
