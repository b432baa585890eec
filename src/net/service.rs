//! What the network layer asks of those who understand the requests.

use super::card::Card;
use super::hub::{ConnId, Hub};
use crate::resp::{Args, OutQueue, ParseLimits, Request};
use crate::sys::bulk::BulkBuf;

/// Meaning of requests.
pub trait Service: Send + Sync + Sized + 'static {
    /// State of one connection, owned by whoever runs its turn.
    type Session: Send;
    /// State of one worker.
    type Local;

    /// The state of worker `index`, made on its own thread.
    fn local(&self, index: usize) -> Self::Local;
    /// The process clock, ms.
    fn now_ms(&self) -> u64;
    /// The LSN whose replies may leave.
    fn released_lsn(&self) -> u64;
    /// True when nothing more will be released than is now.
    fn gives_up(&self) -> bool;
    /// Nothing beyond `released` will be released: replaces what is held in `out` by what its
    /// client is to be told of it. False: the connection is closed.
    fn fail_held(&self, session: &Self::Session, out: &mut OutQueue, released: u64) -> bool;
    /// A connection was accepted: its state, or the bytes to answer before it is closed.
    fn open(&self, card: &Card) -> Result<Self::Session, Vec<u8>>;
    /// Limits for the next requests of a connection.
    fn parse_limits(&self, session: &Self::Session) -> ParseLimits;
    /// Executes requests in order and appends their replies.
    fn serve(&self, io: &mut Io<'_, Self>, batch: Batch<'_>) -> Served;
    /// A request could not be parsed: the connection is answered `error` and closed.
    fn reject(&self, session: &Self::Session, error: &str, out: &mut OutQueue);
    /// The connection is gone; `session` was its state.
    fn close(&self, hub: &Hub<Self>, id: ConnId, card: &Card, session: Self::Session);
    /// Called on every worker some ten times a second.
    fn tick(&self, hub: &Hub<Self>, local: &mut Self::Local, worker: usize) -> TickOutcome;
    /// Called at the end of a worker's round, before replies are released.
    fn settle(&self, local: &mut Self::Local);
    /// Called before a worker sleeps.
    fn idle(&self, local: &mut Self::Local);
    /// The terms on which connections are accepted.
    fn admission(&self) -> Admission;
    /// Bounds that the tick holds against each connection.
    fn bounds(&self, card: &Card) -> Bounds;
}

/// Terms on which connections are accepted.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// Connections open at once.
    pub connections_max: usize,
    /// What one connection too many is answered before it is closed.
    pub refusal: &'static [u8],
    /// Seconds of silence after which the kernel probes the peer; 0: never.
    pub keepalive_s: u32,
}

/// Bounds on one connection.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Closed above this many bytes of requests that are not complete.
    pub query_bytes: usize,
    /// Closed after this many ms without a request; 0: never.
    pub idle_ms: u64,
    /// Closed at once above this many unsent bytes; 0: never.
    pub output_hard: usize,
    /// Closed after `soft_ms` above this many unsent bytes; 0: never.
    pub output_soft: usize,
    /// See `output_soft`.
    pub soft_ms: u64,
}

/// Whether the tick left work behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickOutcome {
    /// Nothing until the next tick.
    Done,
    /// Call again as soon as the ready connections had a turn.
    More,
}

/// What a request may touch beside its arguments.
pub struct Io<'a, S: Service> {
    /// All connections.
    pub hub: &'a Hub<S>,
    /// The connection.
    pub id: ConnId,
    /// Its public side.
    pub card: &'a Card,
    /// Its state.
    pub session: &'a mut S::Session,
    /// Its replies.
    pub out: &'a mut OutQueue,
    /// The worker's state.
    pub local: &'a mut S::Local,
}

/// Parsed requests in a row.
pub struct Batch<'a> {
    pub(super) buf: &'a [u8],
    pub(super) requests: &'a mut [Request],
    pub(super) starts: &'a [usize],
}

impl Batch<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Bytes of all requests of the batch.
    pub fn bytes(&self) -> usize {
        let last = self.requests.len() - 1;
        self.starts[last] + self.requests[last].consumed() - self.starts[0]
    }

    /// The arguments of request `index`.
    #[inline]
    pub fn args(&self, index: usize) -> Args<'_> {
        self.requests[index].args(&self.buf[self.starts[index]..])
    }

    /// Takes argument `arg` out of request `index`, to make it an entry without a copy. `None`
    /// unless it is a large one.
    #[inline]
    pub fn take_large(&mut self, index: usize, arg: usize) -> Option<BulkBuf> {
        let request = &mut self.requests[index];
        if request.has_large() { request.take_large(arg) } else { None }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Requests executed, from the first.
    pub executed: usize,
    /// How the connection goes on.
    pub flow: Flow,
}

/// How a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next request.
    Next,
    /// Closed once the replies are sent.
    Close,
    /// Closed at once, unsent replies are dropped.
    Abort,
    /// Requests wait until the connection is notified.
    Park,
}
