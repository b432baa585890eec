//! Requests parse alike whether the bytes come at once or in pieces.
//!
//! The first bytes of the input choose the limits and the lengths of the pieces, the rest is
//! what the client sends.

#![no_main]

use dse::resp::{ParseLimits, ProtocolError, Request, Step};
use dse::sys::bulk::BulkBuf;
use dse::util::rng::SplitMix64;
use libfuzzer_sys::fuzz_target;

type Outcome = Result<Vec<Vec<u8>>, ProtocolError>;

/// A connection whose bytes arrive in pieces of random lengths, or all at once.
struct Connection<'a> {
    unread: &'a [u8],
    pieces: Option<SplitMix64>,
    buf: Vec<u8>,
    request: Request,
    outcomes: Vec<Outcome>,
}

impl<'a> Connection<'a> {
    fn new(unread: &'a [u8], pieces: Option<SplitMix64>) -> Connection<'a> {
        Connection { unread, pieces, buf: Vec::new(), request: Request::new(), outcomes: vec![] }
    }

    fn read(&mut self) -> Option<&'a [u8]> {
        if self.unread.is_empty() {
            return None;
        }
        let len = match &mut self.pieces {
            // Every other piece is tiny.
            Some(rng) => {
                let len_max = if rng.below(2) == 0 { 4 } else { self.unread.len() as u64 };
                1 + rng.below(len_max)
            }
            None => u64::MAX,
        };
        let (piece, rest) = self.unread.split_at(self.unread.len().min(len as usize));
        self.unread = rest;
        Some(piece)
    }

    fn run(mut self, limits: &ParseLimits) -> Vec<Outcome> {
        while self.step(limits) {}
        self.outcomes
    }

    fn step(&mut self, limits: &ParseLimits) -> bool {
        let step = self.request.parse(&self.buf, limits);
        assert!(self.request.consumed() <= self.buf.len());
        match step {
            Step::Incomplete => match self.read() {
                Some(piece) => self.buf.extend_from_slice(piece),
                None => return false,
            },
            Step::LargeBulk { len } => return self.receive_large(len),
            Step::Complete | Step::Empty => {
                if step == Step::Complete {
                    let args = self.request.args(&self.buf);
                    assert!(args.len() > 0);
                    self.outcomes.push(Ok(args.iter_from(0).map(<[u8]>::to_vec).collect()));
                }
                assert!(self.request.consumed() > 0);
                self.buf.drain(..self.request.consumed());
                self.request.reset();
            }
            Step::Error(error) => {
                self.outcomes.push(Err(error));
                return false;
            }
        }
        true
    }

    fn receive_large(&mut self, len: usize) -> bool {
        assert!(len > dse::limits::BULK_DIRECT_MIN);
        let at = self.request.consumed();
        // Nothing below fills a bulk of a length that the input cannot have.
        if len > self.buf.len() - at + self.unread.len() {
            return false;
        }
        let Some(mut bulk) = BulkBuf::reserve(self.request.large_headroom(), len) else {
            return false;
        };
        let there = len.min(self.buf.len() - at);
        bulk.extend(&self.buf[at..at + there]);
        self.buf.drain(at..at + there);
        while !bulk.is_full() {
            let Some(piece) = self.read() else { return false };
            let (body, rest) = piece.split_at(piece.len().min(len - bulk.filled_len()));
            bulk.extend(body);
            self.buf.extend_from_slice(rest);
        }
        self.request.large_received(bulk);
        true
    }
}

fuzz_target!(|data: &[u8]| {
    let [flags, seed, data @ ..] = data else { return };
    let limits = ParseLimits {
        authenticated: flags & 1 == 0,
        inline_max: if flags & 2 == 0 { 64 } else { 64 * 1024 },
        args_max: if flags & 4 == 0 { 16 } else { 1024 * 1024 },
        bulk_len_max: if flags & 8 == 0 { 100 } else { 512 * 1024 * 1024 },
    };
    // Runs of one byte make bulks long enough to be received apart.
    let mut sent = data.to_vec();
    if flags & 16 != 0 {
        let at = sent.iter().position(|&byte| byte == b'~').unwrap_or(sent.len());
        sent.splice(at..at, std::iter::repeat_n(b'x', 33_000));
    }
    let whole = Connection::new(&sent, None).run(&limits);
    let pieces = SplitMix64::new(u64::from(*seed));
    let cut = Connection::new(&sent, Some(pieces)).run(&limits);
    assert_eq!(whole, cut);
});
