//! Shards as they are at one position of the log.
//!
//! ```text
//!   small entries       copied, as bytes
//!   strings of 16 KiB   a counted reference
//!   large collections   frozen: references to their parts, which a writer copies before a change
//! ```
//!
//! So the time under the lock and the memory are those of the small entries of one shard, however
//! large a single value is.
//!
//! Invariant: what a piece refers to does not change, whatever becomes of the keys: they may be
//! changed, removed, renamed into other shards or flushed.

use super::Saving;
use crate::commands::node::{Node, NodeHub};
use crate::commands::session::Session;
use crate::commands::table::{Command, Keys, flags};
use crate::limits::SAVE_CUTS_BY_WRITER_MAX;
use crate::net::ConnId;
use crate::store::{Frozen, Held, Object, ShardSet, SharedValue, encode_entry, encode_entry_head};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{MutexGuard, PoisonError};

/// A shard as it was at its cut.
pub(super) struct Piece {
    /// The number of the snapshot that it was cut for.
    pub(super) running: u64,
    pub(super) shard: u16,
    pub(super) cut: u64,
    pub(super) clock_ms: u64,
    /// Small entries, each behind its length (8 bytes, little-endian).
    pub(super) bytes: Vec<u8>,
    pub(super) large: Vec<Large>,
    /// Bytes of memory that the shard took, its large values included.
    pub(super) weight: u64,
}

impl Piece {
    /// Bytes of memory that the copy takes.
    pub(super) fn copied(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// A large entry.
pub(super) struct Large {
    /// All of it but its value.
    pub(super) head: Vec<u8>,
    pub(super) value: LargeValue,
}

/// The value of a large entry.
pub(super) enum LargeValue {
    /// A string.
    Text(SharedValue),
    /// A collection.
    Object(Frozen),
}

impl Large {
    /// Bytes of memory that it takes, about.
    pub(super) fn weight(&self) -> u64 {
        match &self.value {
            LargeValue::Text(text) => text.as_ref().len() as u64,
            LargeValue::Object(object) => object.heap_bytes() as u64,
        }
    }
}

impl Saving {
    /// Brings the shards held to one side of a snapshot that is being taken. To be called by a
    /// writer of several shards, before it reserves a place in the log.
    pub fn align(&self, node: &Node, held: &mut Held<'_>, shards: &ShardSet) {
        // Relaxed: a shard of ours that is cut was cut under its lock, after this was set.
        let running = self.running.load(Relaxed);
        if running == 0 {
            return;
        }
        let is_cut = |shard: &u16| self.is_cut(*shard, running);
        let (cut, uncut): (Vec<u16>, Vec<u16>) = shards.iter().partition(is_cut);
        if cut.is_empty() || uncut.is_empty() || self.given_up.load(Relaxed) {
            return;
        }
        if uncut.len() > SAVE_CUTS_BY_WRITER_MAX {
            self.given_up.store(true, SeqCst);
            return;
        }
        for shard in uncut {
            let piece = self.cut(node, held, shard, running);
            self.lock_pieces().push(piece);
        }
    }

    /// Whether the snapshot with that number has cut a shard that is held.
    pub(super) fn is_cut(&self, shard: u16, running: u64) -> bool {
        self.cut_by[shard as usize].load(Relaxed) == running
    }

    /// Copies a shard held.
    pub(super) fn cut(&self, node: &Node, held: &mut Held<'_>, shard: u16, running: u64) -> Piece {
        let (mut bytes, mut large, mut collections) = (Vec::new(), Vec::new(), Vec::new());
        held.for_each(shard, &mut |db, entry, object| {
            if object.is_some_and(Object::is_large) {
                collections.push((db, entry.key().to_vec()));
                return;
            }
            if let Some(text) = entry.share() {
                let mut head = Vec::new();
                encode_entry_head(db, entry, &mut head);
                large.push(Large { head, value: LargeValue::Text(text) });
                return;
            }
            let start = bytes.len();
            bytes.extend_from_slice(&[0; 8]);
            encode_entry(db, entry, object, &mut bytes);
            let len = (bytes.len() - start - 8) as u64;
            bytes[start..start + 8].copy_from_slice(&len.to_le_bytes());
        });
        large.extend(collections.iter().filter_map(|(db, key)| freeze(held, *db, key)));
        self.cut_by[shard as usize].store(running, Relaxed);
        self.report.add_copy(bytes.len() as u64);
        let (cut, clock_ms) = (node.durability.position(), held.clock());
        let weight = node.engine.store.shard_bytes(shard);
        Piece { running, shard, cut, clock_ms, bytes, large, weight }
    }

    /// Whether writers of several shards have copied more than is written soon.
    #[inline]
    pub(super) fn is_behind(&self) -> bool {
        // Relaxed: the bound is exceeded by what is under way in any case.
        self.report.copies.load(Relaxed) > self.copies_max.load(Relaxed)
    }

    /// Whether a request has to wait, before it takes its locks, until copies of shards are
    /// written: it might have to cut shards itself, and copies must stay a small part of the data.
    #[inline]
    pub(in crate::commands) fn holds(&self, command: &Command, session: &Session) -> bool {
        self.is_behind()
            && match &session.multi {
                Some(_) => command.name == "exec",
                None => command.is(flags::WRITE) && command.keys != Keys::ONE,
            }
    }

    /// Lets a connection wait until copies are written.
    pub(in crate::commands) fn hold_back(&self, hub: &NodeHub, id: ConnId) {
        self.lock_held_back().push(id);
        self.bell.notify_all();
        // They may have been written before this connection was on the list.
        if !self.is_behind() {
            hub.resume(id);
        }
    }

    /// `bytes` of copies are written, or of no use.
    pub(super) fn drop_copy(&self, hub: &NodeHub, bytes: u64) {
        // Relaxed: whoever is on the list too late for the look below sees the new number, by the
        // lock of the list.
        self.report.copies.fetch_sub(bytes, Relaxed);
        if !self.is_behind() {
            let waiting = std::mem::take(&mut *self.lock_held_back());
            waiting.into_iter().for_each(|id| hub.resume(id));
        }
    }

    fn lock_held_back(&self) -> MutexGuard<'_, Vec<ConnId>> {
        self.held_back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the shards that writers have cut.
    pub(super) fn take_pieces(&self) -> Vec<Piece> {
        std::mem::take(&mut *self.lock_pieces())
    }

    fn lock_pieces(&self) -> MutexGuard<'_, Vec<Piece>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A collection of a shard held, as it is now.
fn freeze(held: &mut Held<'_>, db: u8, key: &[u8]) -> Option<Large> {
    let key = held.store().key(key);
    let mut head = Vec::new();
    encode_entry_head(db, held.find(db, &key)?, &mut head);
    // Nothing that a client could see changes: no watcher is told.
    let frozen = held.change_object_if(db, &key, |object| (object.freeze(), false))?;
    Some(Large { head, value: LargeValue::Object(frozen) })
}
