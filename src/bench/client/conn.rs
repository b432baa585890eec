//! One connection: what it has sent and not been answered, and the bytes in between.
//!
//! Invariant: `awaited` is the sum of what `waiting` says is left; replies answer the oldest
//! first.

use super::scan::{NotAReply, Reply, Scanner};
use super::target::Target;
use crate::bench::error::BenchError;
use crate::bench::load::builder::{Builder, Recipient};
use crate::bench::load::model::{Expected, Model};
use crate::bench::load::template::Tag;
use crate::sys::socket;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

/// Requests that were sent, or meant to be sent, at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    /// When they were sent; with a rate, when they should have been. Nanoseconds.
    pub at_ns: u64,
    /// Replies that have not come.
    pub left: u32,
}

/// Checks the replies of a connection against its model.
pub(super) struct Verifier {
    pub model: Model,
    expected: VecDeque<Expected>,
    scratch: Vec<u8>,
}

/// A connection.
pub(super) struct Conn {
    pub fd: OwnedFd,
    /// Which of the plan's nodes it leads to.
    pub node: usize,
    /// Requests of the present batch that were not rendered yet.
    unrendered: usize,
    /// Own numbers that the model does not know yet.
    pub unfilled: u64,
    /// Replies that have not come.
    pub awaited: usize,
    /// With a rate: it stands in the line of connections that can take a request.
    pub in_line: bool,
    waiting: VecDeque<Batch>,
    scanner: Scanner,
    /// Received and not consumed: the beginning of a reply.
    partial: Vec<u8>,
    /// Rendered and not taken by the system.
    unsent: Vec<u8>,
    unsent_from: usize,
    verifier: Option<Box<Verifier>>,
}

/// What replies said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Replies that answered a request.
    pub replies: usize,
    /// Of these, errors.
    pub errors: u64,
    /// Of these, not what the model has.
    pub wrong: u64,
    /// The first of either kind.
    pub first: Option<String>,
}

impl Verifier {
    pub(super) fn new(model: Model) -> Box<Verifier> {
        Box::new(Verifier { model, expected: VecDeque::new(), scratch: Vec::new() })
    }
}

impl Conn {
    pub(super) fn new(fd: OwnedFd, node: usize, verifier: Option<Box<Verifier>>) -> Conn {
        let own = verifier.as_ref().map_or(0, |verifier| verifier.model.own());
        Conn {
            fd,
            node,
            unrendered: 0,
            unfilled: own,
            awaited: 0,
            in_line: false,
            waiting: VecDeque::new(),
            scanner: Scanner::new(verifier.is_some()),
            partial: Vec::new(),
            unsent: Vec::new(),
            unsent_from: 0,
            verifier,
        }
    }

    /// True if the system took everything so far.
    pub(super) fn is_flushed(&self) -> bool {
        self.unsent.is_empty() && self.unrendered == 0
    }

    /// Adds `count` requests with this time to what is to be sent.
    #[inline]
    pub(super) fn add(&mut self, at_ns: u64, count: usize) {
        self.waiting.push_back(Batch { at_ns, left: count as u32 });
        self.awaited += count;
        self.unrendered += count;
    }

    /// Sends as much as the system takes. Returns the bytes it took.
    #[inline]
    pub(super) fn pump(&mut self, builder: &mut Builder, tags: &[Tag]) -> io::Result<u64> {
        let mut taken = 0;
        loop {
            if !self.unsent.is_empty() {
                match socket::send(&self.fd, &self.unsent[self.unsent_from..]) {
                    Ok(count) => {
                        taken += count as u64;
                        self.unsent_from += count;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(taken),
                    Err(error) => return Err(error),
                }
                if self.unsent_from < self.unsent.len() {
                    continue;
                }
                self.unsent.clear();
                self.unsent_from = 0;
            }
            if self.unrendered == 0 {
                return Ok(taken);
            }
            let verify = self.verifier.as_deref_mut();
            let verify = verify.map(|verifier| (&mut verifier.model, &mut verifier.expected));
            let recipient = Recipient { tags, verify };
            let (bytes, count) = if self.unfilled > 0 {
                self.unfilled -= 1;
                builder.render_fill(self.unfilled, recipient)
            } else {
                builder.render(self.unrendered, recipient)
            };
            self.unrendered -= count;
            let sent = match socket::send(&self.fd, bytes) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            taken += sent as u64;
            self.unsent.extend_from_slice(&bytes[sent..]);
        }
    }

    /// Takes in what was received.
    #[inline]
    pub(super) fn take(&mut self, input: &[u8], said: &mut Said) -> Result<(), NotAReply> {
        if self.partial.is_empty() {
            let used = consume(&mut self.scanner, &mut self.verifier, input, said)?;
            self.partial.extend_from_slice(&input[used..]);
        } else {
            self.partial.extend_from_slice(input);
            let used = consume(&mut self.scanner, &mut self.verifier, &self.partial, said)?;
            self.partial.drain(..used);
        }
        Ok(())
    }

    /// Notes that `count` requests were answered; calls `each` with every batch that they belong
    /// to and how many. More replies than requests are an error.
    #[inline]
    pub(super) fn settle(
        &mut self,
        count: usize,
        mut each: impl FnMut(Batch, u32),
    ) -> Result<(), NotAReply> {
        let mut rest = count as u32;
        while rest > 0 {
            let Some(batch) = self.waiting.front_mut() else {
                return Err(NotAReply("a reply that nobody asked for".into()));
            };
            let some = batch.left.min(rest);
            each(*batch, some);
            batch.left -= some;
            rest -= some;
            if batch.left == 0 {
                self.waiting.pop_front();
            }
        }
        self.awaited -= count;
        Ok(())
    }

    /// A new connection in the place of the old one.
    pub(super) fn reopen(&mut self, target: &Target) -> Result<(), BenchError> {
        self.fd = target.open()?.into_fd()?;
        Ok(())
    }
}

#[inline]
fn consume(
    scanner: &mut Scanner,
    verifier: &mut Option<Box<Verifier>>,
    input: &[u8],
    said: &mut Said,
) -> Result<usize, NotAReply> {
    let mut at = 0;
    loop {
        let (used, reply) = scanner.next(&input[at..])?;
        at += used;
        let Some(reply) = reply else { return Ok(at) };
        if reply.is_aside() {
            continue;
        }
        said.replies += 1;
        if matches!(reply.kind, b'-' | b'!') {
            said.errors += 1;
            said.first.get_or_insert_with(|| String::from_utf8_lossy(reply.text).into_owned());
        }
        if let Some(verifier) = verifier {
            check(verifier, &reply, said);
        }
    }
}

/// Compares a reply with what the model has.
fn check(verifier: &mut Verifier, reply: &Reply<'_>, said: &mut Said) {
    let Verifier { model, expected, scratch } = verifier;
    let Some(expected) = expected.pop_front() else { return };
    if !model.is_right(expected, reply, scratch) {
        said.wrong += 1;
        said.first.get_or_insert_with(|| {
            let text = &reply.text[..reply.text.len().min(40)];
            let kind = char::from(reply.kind);
            format!("expected {expected:?}, got {kind}{}", text.escape_ascii())
        });
    }
}
