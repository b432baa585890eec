//! One connection's turn: take what others noted, read, execute, send.
//!
//! ```text
//!   socket --recv--> shared read buffer --parse--> batch --serve--> out --sendmsg--> socket
//!                        | rest                      ^
//!                        v                           |
//!                     Partial (only while a request is incomplete or must wait)
//! ```
//!
//! A connection between requests owns no buffer. Input of a connection whose replies pile up
//! (less high while its socket is full) is neither read nor executed until they have left
//! (`OUTPUT_HIGH_WATER`, `OUTPUT_BLOCKED_WATER`, `OUTPUT_LOW_WATER`).

use super::hub::{ConnId, Hub};
use super::partial::Partial;
use super::scratch::RequestScratch;
use super::service::{Batch, Flow, Io, Service};
use super::{card::Card, io};
use crate::limits::{
    BATCH_COMMANDS, OUTPUT_BLOCKED_WATER, OUTPUT_HIGH_WATER, OUTPUT_LOW_WATER, TURN_BYTES,
    TURN_COMMANDS, TURN_READS,
};
use crate::resp::{OutQueue, Step};
use crate::sync::turn::flags;
use crate::sys::bulk::BulkBuf;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;

/// A connection's state, owned by whoever runs its turn.
pub(super) struct Link<S: Service> {
    pub(super) fd: OwnedFd,
    pub(super) session: S::Session,
    pub(super) out: OutQueue,
    partial: Option<Box<Partial>>,
    /// The socket may hold input.
    unread: bool,
    /// The peer will send no more, or the socket failed: read to the end, a short read proves
    /// nothing.
    ending: bool,
    /// Every byte the peer sent was read.
    ended: bool,
    /// The socket takes no output until it says so.
    blocked: bool,
    /// Nothing is executed until the replies have left.
    throttled: bool,
    /// Nothing is executed until somebody resumes the connection.
    parked: bool,
    /// Closed once the replies are sent.
    closing: bool,
    /// The highest LSN that a worker will wake the connection for.
    awaited: u64,
    /// What was released when replies were last sent.
    released: u64,
}

/// What a turn of a connection leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It waits for an event or a note.
    Wait,
    /// It has more to do; others first.
    Yield,
    /// It ends here.
    Close,
}

/// Why a pass over some input ended.
enum PassEnd {
    /// All of it was executed.
    Done,
    /// The first request of the rest is incomplete.
    Incomplete,
    /// The next bytes of the first request of the rest are a large bulk of this length.
    Large(usize),
    /// The rest must wait: replies pile up, or the turn is used up.
    Hold,
    /// The service decided.
    Stop(Flow),
}

struct Pass {
    consumed: usize,
    end: PassEnd,
}

/// What a turn works with, beside the connection.
pub(super) struct TurnContext<'a, S: Service> {
    pub(super) hub: &'a Hub<S>,
    pub(super) scratch: &'a mut RequestScratch,
    pub(super) local: &'a mut S::Local,
    pub(super) id: ConnId,
    pub(super) card: &'a Card,
}

impl<S: Service> Link<S> {
    pub(super) fn new(fd: OwnedFd, session: S::Session) -> Link<S> {
        Link {
            fd,
            session,
            out: OutQueue::default(),
            partial: None,
            unread: false,
            ending: false,
            ended: false,
            blocked: false,
            throttled: false,
            parked: false,
            closing: false,
            awaited: 0,
            released: 0,
        }
    }

    /// The LSN that the connection must be woken for, if its replies are held and no worker
    /// knows of it yet. What counts is what was released when replies were last sent: what was
    /// released since has not been sent.
    pub(super) fn newly_held(&mut self) -> Option<u64> {
        let after = self.out.held_by(self.released).filter(|after| *after > self.awaited)?;
        self.awaited = after;
        Some(after)
    }

    /// Runs a turn. `noted` are the flags taken from the turn cell.
    pub(super) fn turn(&mut self, cx: &mut TurnContext<'_, S>, noted: u32) -> Verdict {
        if noted & flags::KILL != 0 {
            return Verdict::Close;
        }
        if self.out.heap_bytes() == 0 {
            self.out.lend(cx.scratch.replies.take());
        }
        self.take_notes(cx.card, noted);
        let verdict = self.work(cx);
        let verdict = match verdict {
            Verdict::Close => Verdict::Close,
            _ if self.holds_too_much(cx) => Verdict::Close,
            _ => self.flush_and_judge(cx, verdict),
        };
        let held = self.partial.as_ref().map_or(0, |partial| partial.bytes());
        cx.card.query_bytes.store(held, Relaxed);
        cx.card.output_bytes.store(self.out.len(), Relaxed);
        verdict
    }

    /// True, and said in the log, when more of unfinished requests has arrived than the service
    /// allows. What one turn reads beyond that is bounded.
    fn holds_too_much(&self, cx: &TurnContext<'_, S>) -> bool {
        let Some(partial) = &self.partial else { return false };
        let (held, most) = (partial.received(), cx.hub.service.bounds(cx.card).query_bytes);
        if held > most {
            let peer = cx.card.peer().map(|peer| peer.to_string()).unwrap_or_default();
            tracing::warn!(peer, held, most, "a client sent too much of an unfinished request");
        }
        held > most
    }

    fn take_notes(&mut self, card: &Card, noted: u32) {
        if noted & (flags::UNREAD | flags::RDHUP | flags::HANGUP | flags::ERROR) != 0 {
            self.unread = true;
        }
        if noted & (flags::RDHUP | flags::HANGUP | flags::ERROR) != 0 {
            self.ending = true;
        }
        if noted & flags::WRITABLE != 0 {
            self.blocked = false;
        }
        if noted & flags::WAKE != 0 {
            self.parked = false;
        }
        if noted & flags::INBOX != 0 {
            for (message, after) in card.collect() {
                let mark = self.out.mark();
                self.out.buf_mut().extend_from_slice(&message);
                if after > 0 {
                    self.out.free_before(mark);
                    self.out.gate(after);
                }
            }
        }
    }

    /// Reads and executes until nothing is left, the turn is used up, or something must wait.
    fn work(&mut self, cx: &mut TurnContext<'_, S>) -> Verdict {
        let mut commands = TURN_COMMANDS;
        let mut reads = 0;
        loop {
            let high = if self.blocked { OUTPUT_BLOCKED_WATER } else { OUTPUT_HIGH_WATER };
            if self.out.len() >= high {
                if let Err(_gone) = self.flush(cx) {
                    return Verdict::Close;
                }
                self.throttled = self.out.len() > OUTPUT_LOW_WATER;
            }
            if self.throttled || self.parked || self.closing {
                return Verdict::Wait;
            }
            if commands == 0 {
                return Verdict::Yield;
            }
            if self.partial.as_ref().is_some_and(|partial| !partial.starved) {
                self.run_partial(cx, &mut commands);
                continue;
            }
            if !self.unread || self.ended {
                return Verdict::Wait;
            }
            if reads == TURN_READS || reads > 0 && !cx.hub.ring.is_empty() {
                return Verdict::Yield;
            }
            reads += 1;
            if !self.read(cx, &mut commands) {
                return Verdict::Close;
            }
        }
    }

    /// Receives once and executes what came. False when the connection failed.
    fn read(&mut self, cx: &mut TurnContext<'_, S>, commands: &mut usize) -> bool {
        cx.card.active_ms.store(cx.hub.service.now_ms(), Relaxed);
        if let Some(bulk) = self.partial.as_mut().and_then(|partial| partial.bulk.as_mut()) {
            let want = (bulk.target_len() - bulk.filled_len()).min(4 * TURN_BYTES);
            let got = io::receive_bulk(&self.fd, bulk, want);
            return self.received(got, want).map(|_| self.finish_bulk()).is_some();
        }
        let got = io::receive(&self.fd, &mut cx.scratch.read[TURN_BYTES..]);
        let Some(len) = self.received(got, TURN_BYTES) else { return false };
        if len > 0 {
            // The buffer is lent out of the scratch so that the pass may use the rest of it.
            let mut read = std::mem::take(&mut cx.scratch.read);
            self.run_read(cx, &mut read[..TURN_BYTES + len], commands);
            cx.scratch.read = read;
        }
        true
    }

    /// Executes what was received behind the first `TURN_BYTES` of `read`. The beginning of an
    /// unfinished request is copied in front of it, unless that is the longer part: what is
    /// copied is never more than what came.
    fn run_read(&mut self, cx: &mut TurnContext<'_, S>, read: &mut [u8], commands: &mut usize) {
        match self.partial.take() {
            Some(mut partial) if partial.rest().len() > read.len() - TURN_BYTES => {
                partial.buf.extend_from_slice(&read[TURN_BYTES..]);
                partial.starved = false;
                self.partial = Some(partial);
            }
            Some(mut partial) => {
                let start = TURN_BYTES - partial.rest().len();
                read[start..TURN_BYTES].copy_from_slice(partial.rest());
                std::mem::swap(&mut cx.scratch.requests[0], &mut partial.request);
                let pass = self.pass(cx, &read[start..], true, commands);
                self.keep_rest(cx, &read[start..], pass, Some(partial));
            }
            None => {
                let pass = self.pass(cx, &read[TURN_BYTES..], false, commands);
                self.keep_rest(cx, &read[TURN_BYTES..], pass, None);
            }
        }
    }

    /// Notes what a receive of up to `asked` bytes says of the socket: the bytes that came,
    /// `None` when the connection failed.
    fn received(&mut self, got: io::Received, asked: usize) -> Option<usize> {
        match got {
            io::Received::Bytes(len) => {
                // Less than asked for means drained, unless the peer is leaving.
                self.unread = len == asked || self.ending;
                Some(len)
            }
            io::Received::Nothing => {
                self.unread = false;
                Some(0)
            }
            io::Received::End => {
                self.unread = false;
                self.ended = true;
                Some(0)
            }
            io::Received::Failed => None,
        }
    }

    /// Hands a bulk that is complete to its request.
    fn finish_bulk(&mut self) {
        if let Some(partial) = &mut self.partial
            && partial.bulk.as_ref().is_some_and(BulkBuf::is_full)
            && let Some(bulk) = partial.bulk.take()
        {
            partial.request.large_received(bulk);
            partial.starved = false;
        }
    }

    /// Executes what waits in the partial buffer.
    fn run_partial(&mut self, cx: &mut TurnContext<'_, S>, commands: &mut usize) {
        let Some(mut partial) = self.partial.take() else { return };
        std::mem::swap(&mut cx.scratch.requests[0], &mut partial.request);
        let pass = self.pass(cx, &partial.buf[partial.at..], true, commands);
        partial.at += pass.consumed;
        let rest = partial.buf.len() - partial.at;
        match pass.end {
            PassEnd::Done => return,
            PassEnd::Stop(flow) => {
                self.apply_flow(flow);
                if self.closing || rest == 0 {
                    return;
                }
            }
            _ => {}
        }
        std::mem::swap(&mut cx.scratch.requests[0], &mut partial.request);
        partial.starved = matches!(pass.end, PassEnd::Incomplete);
        if partial.at > 0 {
            partial.buf.drain(..partial.at);
            partial.at = 0;
        }
        if let PassEnd::Large(len) = pass.end {
            self.start_bulk(&mut partial, len);
        }
        self.partial = Some(partial);
    }

    /// Keeps what a pass over the shared read buffer left, in `kept` if there is one.
    fn keep_rest(
        &mut self,
        cx: &mut TurnContext<'_, S>,
        input: &[u8],
        pass: Pass,
        kept: Option<Box<Partial>>,
    ) {
        let rest = &input[pass.consumed..];
        if let PassEnd::Stop(flow) = pass.end {
            self.apply_flow(flow);
        }
        if self.closing || matches!(pass.end, PassEnd::Done) || rest.is_empty() {
            return;
        }
        let mut partial = kept.unwrap_or_default();
        std::mem::swap(&mut cx.scratch.requests[0], &mut partial.request);
        partial.keep(rest);
        partial.starved = matches!(pass.end, PassEnd::Incomplete);
        if let PassEnd::Large(len) = pass.end {
            self.start_bulk(&mut partial, len);
        }
        self.partial = Some(partial);
    }

    /// Reserves room for a large bulk and moves into it what has arrived already.
    fn start_bulk(&mut self, partial: &mut Partial, len: usize) {
        let at = partial.request.consumed();
        let headroom = partial.request.large_headroom();
        let Some(mut bulk) = BulkBuf::reserve(headroom, len) else {
            self.closing = true; // No address space: the client cannot be served.
            return;
        };
        let here = (partial.buf.len() - at).min(len);
        bulk.extend(&partial.buf[at..at + here]);
        partial.buf.drain(at..at + here);
        if bulk.is_full() {
            partial.request.large_received(bulk);
        } else {
            partial.bulk = Some(bulk);
            partial.starved = true;
        }
    }

    fn apply_flow(&mut self, flow: Flow) {
        match flow {
            Flow::Next => {}
            Flow::Park => self.parked = true,
            Flow::Close => self.closing = true,
            Flow::Abort => {
                self.closing = true;
                self.out = OutQueue::default();
            }
        }
    }

    /// Parses and executes requests of `input`. If `resumed`, the first is parsed in part, and
    /// its progress lies in the first place of the scratch. On return the progress of the first
    /// request that was not executed lies there.
    fn pass(
        &mut self,
        cx: &mut TurnContext<'_, S>,
        input: &[u8],
        mut resumed: bool,
        commands: &mut usize,
    ) -> Pass {
        let mut at = 0;
        loop {
            let limits = cx.hub.service.parse_limits(&self.session);
            let most = if limits.authenticated { BATCH_COMMANDS } else { 1 };
            let parsed = cx.scratch.parse(input, &mut at, resumed, most, &limits);
            resumed = false;
            if parsed.count > 0 {
                *commands = commands.saturating_sub(parsed.count);
                if let Some(pass) = self.serve(cx, input, parsed.count) {
                    return pass;
                }
            }
            let end = match parsed.step {
                None if at == input.len() => PassEnd::Done,
                None if *commands == 0 => PassEnd::Hold,
                None => continue,
                Some(Step::LargeBulk { len }) => PassEnd::Large(len),
                Some(Step::Error(error)) => {
                    cx.hub.service.reject(&self.session, &error.to_string(), &mut self.out);
                    PassEnd::Stop(Flow::Close)
                }
                Some(_) => PassEnd::Incomplete,
            };
            match end {
                PassEnd::Incomplete | PassEnd::Large(_) => cx.scratch.move_to_front(parsed.count),
                _ => cx.scratch.requests[0].reset(),
            }
            return Pass { consumed: at, end };
        }
    }

    /// Executes the first `count` requests of the scratch; a pass if it ends here.
    fn serve(&mut self, cx: &mut TurnContext<'_, S>, input: &[u8], count: usize) -> Option<Pass> {
        let served = {
            let RequestScratch { requests, starts, .. } = &mut *cx.scratch;
            let batch =
                Batch { buf: input, requests: &mut requests[..count], starts: &starts[..count] };
            let mut io = Io {
                hub: cx.hub,
                id: cx.id,
                card: cx.card,
                session: &mut self.session,
                out: &mut self.out,
                local: cx.local,
            };
            cx.hub.service.serve(&mut io, batch)
        };
        if served.executed == count && served.flow == Flow::Next {
            return None;
        }
        if served.executed < count {
            let consumed = cx.scratch.starts[served.executed];
            cx.scratch.move_to_front(served.executed);
            let end =
                if served.flow == Flow::Next { PassEnd::Hold } else { PassEnd::Stop(served.flow) };
            return Some(Pass { consumed, end });
        }
        let last = count - 1;
        let consumed = cx.scratch.starts[last] + cx.scratch.requests[last].consumed();
        cx.scratch.requests[0].reset();
        Some(Pass { consumed, end: PassEnd::Stop(served.flow) })
    }

    /// Sends what may leave, and says how the connection goes on.
    fn flush_and_judge(&mut self, cx: &mut TurnContext<'_, S>, verdict: Verdict) -> Verdict {
        if self.flush(cx).is_err() {
            return Verdict::Close;
        }
        let was_throttled = self.throttled;
        self.throttled &= self.out.len() > OUTPUT_LOW_WATER;
        if self.out.is_empty() {
            let no_more_input = self.closing || self.ended && !self.has_runnable();
            if no_more_input && !self.parked {
                return Verdict::Close;
            }
            cx.scratch.replies.put(self.out.take_buffer());
        }
        if was_throttled && !self.throttled && (self.has_runnable() || self.unread) {
            return Verdict::Yield;
        }
        verdict
    }

    fn has_runnable(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| !partial.starved)
    }

    /// Sends until the queue is empty, held by the gate, or the socket is full.
    fn flush(&mut self, cx: &TurnContext<'_, S>) -> Result<(), io::Gone> {
        if self.blocked || self.out.is_empty() {
            return Ok(());
        }
        let service = &cx.hub.service;
        let gives_up = self.out.is_gated() && service.gives_up();
        // Loaded after that look: if there will be no more, this is the last.
        self.released = service.released_lsn();
        if gives_up && !service.fail_held(&self.session, &mut self.out, self.released) {
            return Err(io::Gone);
        }
        self.blocked = io::send_all(&self.fd, &mut self.out, self.released)?;
        Ok(())
    }
}
