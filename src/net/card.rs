//! What anyone may know of a connection, for CLIENT LIST and for those who send to it.
//!
//! The runner of the connection's turn writes, anyone reads; the numbers are hints that may be
//! a turn old.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One end of a connection.
pub use crate::sys::socket::Address as Peer;

/// Names that a client gave itself.
#[derive(Debug, Default, Clone)]
pub struct Labels {
    /// CLIENT SETNAME.
    pub name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: String,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: String,
}

/// Messages of others. Tagged with the generation they are meant for, since a sender may come
/// late and the slot may have a new owner by then.
#[derive(Default)]
struct Inbox {
    generation: u32,
    messages: Vec<(Arc<[u8]>, u64)>,
}

struct Ends {
    peer: Peer,
    local: Peer,
    /// Apart, because most connections have none, and what each of thousands costs counts.
    labels: Option<Box<Labels>>,
}

/// What is known of a connection when it is accepted.
pub(super) struct Opening {
    pub(super) id: u64,
    pub(super) fd: u32,
    pub(super) worker: u32,
    pub(super) peer: Peer,
    pub(super) local: Peer,
    pub(super) now_ms: u64,
}

/// The public side of one connection slot. Reused by its successors.
pub struct Card {
    open: AtomicBool,
    generation: AtomicU32,
    id: AtomicU64,
    /// File descriptor.
    pub fd: AtomicU32,
    /// Home worker.
    pub worker: AtomicU32,
    /// When it was accepted, ms of the process clock.
    pub opened_ms: AtomicU64,
    /// When it last sent something, ms of the process clock.
    pub active_ms: AtomicU64,
    /// Number of the database it is on.
    pub db: AtomicU8,
    /// 2 or 3.
    pub resp: AtomicU8,
    /// Number of the last command as the service counts them, + 1; 0: none yet.
    pub command: AtomicU16,
    /// Queued commands of an open transaction; -1: none is open.
    pub queued: AtomicI32,
    /// Keys watched.
    pub watched: AtomicU32,
    /// Channels subscribed to.
    pub channels: AtomicU32,
    /// Patterns subscribed to.
    pub patterns: AtomicU32,
    /// Bits that the service defines.
    pub marks: AtomicU32,
    /// Unparsed request bytes held.
    pub query_bytes: AtomicUsize,
    /// Unsent reply bytes held, without the inbox.
    pub output_bytes: AtomicUsize,
    /// When the output first stood above its soft limit, ms; 0: it does not.
    pub soft_since_ms: AtomicU64,
    /// Bytes waiting in the inbox.
    pub inbox_bytes: AtomicUsize,
    inbox: Mutex<Inbox>,
    ends: Mutex<Option<Box<Ends>>>,
}

impl Card {
    pub(super) fn vacant() -> Card {
        Card {
            open: AtomicBool::new(false),
            generation: AtomicU32::new(0),
            id: AtomicU64::new(0),
            fd: AtomicU32::new(0),
            worker: AtomicU32::new(0),
            opened_ms: AtomicU64::new(0),
            active_ms: AtomicU64::new(0),
            db: AtomicU8::new(0),
            resp: AtomicU8::new(2),
            command: AtomicU16::new(0),
            queued: AtomicI32::new(-1),
            watched: AtomicU32::new(0),
            channels: AtomicU32::new(0),
            patterns: AtomicU32::new(0),
            marks: AtomicU32::new(0),
            query_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            soft_since_ms: AtomicU64::new(0),
            inbox_bytes: AtomicUsize::new(0),
            inbox: Mutex::new(Inbox::default()),
            ends: Mutex::new(None),
        }
    }

    /// Number of the connection: counts up, never used twice (CLIENT ID).
    pub fn id(&self) -> u64 {
        self.id.load(Relaxed)
    }

    /// True between the acceptance and the close of a connection.
    pub fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// The other end.
    pub fn peer(&self) -> Option<Peer> {
        self.lock_ends().as_ref().map(|ends| ends.peer.clone())
    }

    /// True when the peer is on this machine.
    pub fn is_from_here(&self) -> bool {
        match self.lock_ends().as_ref().map(|ends| &ends.peer) {
            Some(Peer::Tcp(addr)) => addr.ip().to_canonical().is_loopback(),
            Some(Peer::Unix(_)) => true,
            None => false,
        }
    }

    /// This end.
    pub fn local(&self) -> Option<Peer> {
        self.lock_ends().as_ref().map(|ends| ends.local.clone())
    }

    /// The names the client gave itself.
    pub fn labels(&self) -> Labels {
        let ends = self.lock_ends();
        let labels = ends.as_ref().and_then(|ends| ends.labels.as_deref());
        labels.cloned().unwrap_or_default()
    }

    /// Changes the names the client gave itself.
    pub fn label(&self, change: impl FnOnce(&mut Labels)) {
        if let Some(ends) = self.lock_ends().as_mut() {
            change(ends.labels.get_or_insert_default());
        }
    }

    /// Sets or clears bits of [`Card::marks`].
    pub fn mark(&self, bits: u32, on: bool) {
        let marks = self.marks.load(Relaxed);
        self.marks.store(if on { marks | bits } else { marks & !bits }, Relaxed);
    }

    /// Unsent bytes, the inbox included.
    pub fn unsent_bytes(&self) -> usize {
        self.output_bytes.load(Relaxed) + self.inbox_bytes.load(Relaxed)
    }

    /// A connection moves in; it is visible from [`Card::name`] on.
    pub(super) fn move_in(&self, opening: Opening) {
        self.id.store(opening.id, Relaxed);
        self.fd.store(opening.fd, Relaxed);
        self.worker.store(opening.worker, Relaxed);
        self.opened_ms.store(opening.now_ms, Relaxed);
        self.active_ms.store(opening.now_ms, Relaxed);
        let (peer, local) = (opening.peer, opening.local);
        *self.lock_ends() = Some(Box::new(Ends { peer, local, labels: None }));
    }

    /// Tells which life of the slot this is, and makes the connection visible.
    pub(super) fn name(&self, generation: u32) {
        *self.lock_inbox() = Inbox { generation, messages: Vec::new() };
        self.generation.store(generation, Relaxed);
        self.open.store(true, Relaxed);
    }

    /// The life of the slot that the card speaks of.
    pub fn generation(&self) -> u32 {
        self.generation.load(Relaxed)
    }

    /// The connection is gone.
    pub(super) fn move_out(&self) {
        self.open.store(false, Relaxed);
        *self.lock_ends() = None;
        *self.lock_inbox() = Inbox::default();
        for number in [&self.query_bytes, &self.output_bytes, &self.inbox_bytes] {
            number.store(0, Relaxed);
        }
        for number in [&self.watched, &self.channels, &self.patterns, &self.marks] {
            number.store(0, Relaxed);
        }
        self.db.store(0, Relaxed);
        self.resp.store(2, Relaxed);
        self.command.store(0, Relaxed);
        self.queued.store(-1, Relaxed);
        self.soft_since_ms.store(0, Relaxed);
    }

    /// Leaves a message for the connection; it is sent in a turn of the connection once `after`
    /// is released. False if the connection meant is gone.
    pub(super) fn leave(&self, generation: u32, message: Arc<[u8]>, after: u64) -> bool {
        let mut inbox = self.lock_inbox();
        if inbox.generation != generation {
            return false;
        }
        self.inbox_bytes.fetch_add(message.len(), Relaxed);
        inbox.messages.push((message, after));
        true
    }

    /// Takes what was left, each message with its `after`.
    pub(super) fn collect(&self) -> Vec<(Arc<[u8]>, u64)> {
        let mut inbox = self.lock_inbox();
        self.inbox_bytes.store(0, Relaxed);
        std::mem::take(&mut inbox.messages)
    }

    fn lock_inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_ends(&self) -> MutexGuard<'_, Option<Box<Ends>>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
