//! The log of a node as it really is (`driver::log` inside `wal`), on a disk that can fail.
//!
//! ```text
//!   record -> GroupLog -> Log by hand: ring -> commit -> platter (waiting) --sync--> durable
//!                                                `--crash--> of each block: there, lost, torn
//! ```
//!
//! A start reads it as the driver does: what is not whole behind what was durable is a torn end and
//! is cut off; in front of it, it is damage, and the files are set aside (C12). What lies before
//! the records that are needed is given away (C13).

use super::platter::Platter;
use dse::cluster::core::log::{Item, NodeStart, read};
use dse::cluster::core::message::GroupId;
use dse::cluster::core::{Node as Core, NodeInput};
use dse::driver::aside;
use dse::driver::log::{GroupLog, Recovered, place_of};
use dse::driver::shorten::Shortening;
use dse::limits::LOG_CHUNK_BYTES;
use dse::util::rng::SplitMix64;
use dse::wal::{Log, LogOptions, LogReader, SyncMode, Writing, names};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of a file of the log.
const SEGMENT: u64 = LOG_CHUNK_BYTES;
const OPTIONS: LogOptions =
    LogOptions { mode: SyncMode::Always, segment_bytes: SEGMENT, ring_bytes: 4 * SEGMENT };

/// The disk of a node, and the log on it while the node runs.
pub struct Disk {
    pub platter: Platter,
    log: Option<GroupLog>,
    writing: Option<Writing>,
    /// Records that are not durable, with their numbers.
    records: VecDeque<(u64, Vec<u8>)>,
    /// What the log says when everything that was written is read, and when what is durable is.
    pub written: NodeStart,
    pub durable: NodeStart,
    /// A bit of what was durable was turned.
    is_damaged: bool,
    /// The cluster of a log that was set aside, until something new is durable.
    aside: Option<u64>,
    shortening: Shortening,
    /// Microseconds that a sync takes at least.
    pub latency_us: u64,
}

/// What a start finds.
pub enum Found {
    Whole(NodeStart),
    /// The log was set aside.
    Damage(NodeStart),
    /// The disk refuses; the node cannot start.
    Refused,
    /// What must not be found.
    Wrong(&'static str),
}

impl Disk {
    pub fn new() -> Disk {
        Disk {
            platter: Platter::default(),
            log: None,
            writing: None,
            records: VecDeque::new(),
            written: NodeStart::default(),
            durable: NodeStart::default(),
            is_damaged: false,
            aside: None,
            shortening: Shortening::default(),
            latency_us: 200,
        }
    }

    /// Takes a record.
    pub fn write(&mut self, now_us: u64, number: u64, record: Vec<u8>) {
        let Some(log) = &mut self.log else { return };
        self.records.push_back((number, record.clone()));
        log.push(now_us, number, record);
    }

    /// True if a write begins now, since something waits and none is under way. A log that
    /// `is_quiet` states how far it is durable.
    pub fn begin_sync(&mut self, is_quiet: bool) -> bool {
        let Some(log) = &mut self.log else { return false };
        log.pump();
        if self.writing.is_none() {
            self.writing = log.log().begin_write(is_quiet);
            return self.writing.is_some();
        }
        false
    }

    /// The write is done: returns the number of the last record that has become durable.
    pub fn synced(&mut self) -> Option<u64> {
        let log = self.log.as_mut()?;
        self.platter.settle();
        log.log().end_write(self.writing.take()?);
        // What a rescue has written again is durable when it returns.
        self.platter.settle();
        let newest = log.take_durable()?;
        while let Some((number, record)) = self.records.pop_front_if(|(at, _)| *at <= newest) {
            let (_, items) = read(&record).expect("a record that was just made");
            items.into_iter().for_each(|item| self.durable.take(number, item));
        }
        if let Some(cluster) = self.aside.take() {
            aside::end(&self.platter, cluster);
        }
        Some(newest)
    }

    /// What is to be done now and then.
    pub fn look_after(&mut self) {
        if let Some(log) = &self.log {
            log.log().look_after();
        }
    }

    /// Whether nothing can be written any more: the node ends.
    pub fn is_broken(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.log().is_broken())
    }

    /// Whether there is no room for what comes next.
    pub fn is_full(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.log().is_full())
    }

    /// Whether it is too slow to lead.
    pub fn is_slow(&self, now_us: u64, was_slow: bool) -> bool {
        self.log.as_ref().is_some_and(|log| log.is_slow(now_us, was_slow))
    }

    /// The node ends: of what was not synced any part may be there.
    pub fn crash(&mut self, rng: &mut SplitMix64) {
        (self.log, self.writing) = (None, None);
        self.records.clear();
        self.platter.crash(rng);
    }

    /// Has the log become shorter, as the driver does: groups to be cut, and what the core is told.
    pub fn shorten(
        &mut self,
        now_us: u64,
        core: &Core,
        bytes_most: u64,
    ) -> (Vec<GroupId>, Option<NodeInput>) {
        let mut cut = Vec::new();
        let Some(log) = &mut self.log else { return (cut, None) };
        let freshen = &mut |group| {
            cut.push(group);
            0
        };
        let input = self.shortening.look(now_us, core, log, bytes_most, freshen);
        (cut, input)
    }

    /// Where the log begins, and how many bytes of it are kept.
    pub fn extent(&self) -> (u64, u64) {
        self.log.as_ref().map_or((0, 0), |log| (log.begin(), log.bytes()))
    }

    /// Turns one bit of what the log states to be durable; false if there is nothing.
    pub fn turn_bit(&mut self, at: u64) -> bool {
        let Ok(files) = names::list(&self.platter) else { return false };
        let Some((first, _)) = files.first() else { return false };
        let Ok(mut reader) = LogReader::open(&self.platter, SEGMENT, first.start) else {
            return false;
        };
        while let Ok(Some(_)) = reader.next_chunk() {}
        let (from, stated) = (first.start, reader.tail().synced);
        if stated <= from {
            return false;
        }
        let place = from + at / 8 % (stated - from);
        let holds = |start: u64| start <= place && place < (start / SEGMENT + 1) * SEGMENT;
        let files = files.iter().filter(|(name, _)| holds(name.start));
        let Some((name, _)) = files.max_by_key(|(name, _)| name.generation) else { return false };
        self.platter.flip(&name.text(), place - name.start, at % 8);
        self.is_damaged = true;
        true
    }

    /// Reads the log at a start, as the driver does, and opens it.
    pub fn open(&mut self, random: u64) -> Found {
        let Ok((recovered, aside)) = aside::recover(&self.platter, SEGMENT) else {
            return Found::Wrong("a log cannot be read");
        };
        let Recovered { start, tail, places } = recovered;
        let is_lost = aside.is_some();
        if is_lost && !self.is_damaged && self.aside.is_none() {
            return Found::Wrong("a log that nobody damaged was set aside");
        }
        if !is_lost && self.is_damaged {
            return Found::Wrong("damage in what was durable was not noticed");
        }
        if !is_lost && start.last < self.durable.last {
            return Found::Wrong("what was durable is not in the log any more");
        }
        (self.is_damaged, self.aside) = (false, aside);
        (self.written, self.durable) = (start.clone(), start.clone());
        let disk = Arc::new(self.platter.clone());
        let Ok(log) = Log::open_by_hand(disk, OPTIONS, place_of(&tail, random)) else {
            return Found::Refused;
        };
        log.look_after();
        self.log = Some(GroupLog::new(log, places));
        self.shortening = Shortening::default();
        if is_lost { Found::Damage(start) } else { Found::Whole(start) }
    }
}

/// Notes an item as written, and returns index and term of what is in front of its first entry.
pub fn before(written: &NodeStart, item: &Item) -> Option<(u64, u64)> {
    let Item::Group(group, replica, write) = item else { return None };
    let stored = written.groups.get(group).filter(|stored| stored.replica == *replica)?;
    let index = write.entries.first()?.index - 1;
    let meta = stored.snapshot.get_metadata();
    let of_snapshot = (meta.index == index).then_some(meta.term);
    let entry = stored.entries.iter().find(|entry| entry.index == index);
    Some((index, entry.map(|entry| entry.term).or(of_snapshot)?))
}
