//! A node's disk: the log of its groups as bytes, of which a crash loses any end that waits.
//!
//! ```text
//!   frame   length u32 | crc32c u32 of what follows | durable up to u64 | record
//! ```
//!
//! As the write-ahead log does, each frame says how far the log was durable when it was written. So
//! at a start, what is not whole behind that place is a torn end and is cut off; in front of it, it
//! is damage, and the node has lost its disk (C12). What lies before the records that are needed is
//! given away (C13).

use dse::cluster::core::log::{Item, NodeStart, Recovery, read};
use dse::util::wire::Source;
use std::collections::VecDeque;

const HEADER: usize = 16;

/// The disk of a node.
#[derive(Default)]
pub struct Disk {
    /// The bytes that are there after a crash, from position `base` on.
    image: Vec<u8>,
    base: u64,
    /// Number and position of each record in the image.
    records: VecDeque<(u64, u64)>,
    /// How far the last frame in the image says that the log was durable.
    stated: u64,
    /// Frames that wait, with their numbers.
    queue: VecDeque<(u64, Vec<u8>)>,
    /// Frames at the front of the queue that the sync under way covers.
    syncing: usize,
    /// What the log says when everything that was written is read, and when what is durable is.
    pub written: NodeStart,
    pub durable: NodeStart,
    /// Microseconds that a sync takes at least.
    pub latency_us: u64,
}

/// What a start finds.
pub enum Found {
    Whole(NodeStart),
    Damage,
}

impl Disk {
    pub fn new() -> Disk {
        Disk { latency_us: 200, ..Disk::default() }
    }

    /// Takes a record, and returns what is in it with what was written before each item.
    pub fn write(&mut self, number: u64, record: &[u8]) {
        let durable = self.end();
        let mut frame = (record.len() as u32).to_le_bytes().to_vec();
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(&durable.to_le_bytes());
        frame.extend_from_slice(record);
        let crc = crc32c(&frame[8..]);
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        self.queue.push_back((number, frame));
    }

    /// True if a sync begins now, since something waits and none is under way.
    pub fn begin_sync(&mut self) -> bool {
        let begins = self.syncing == 0 && !self.queue.is_empty();
        if begins {
            self.syncing = self.queue.len();
        }
        begins
    }

    /// The sync is done: returns the number of the last record that is durable.
    pub fn synced(&mut self) -> u64 {
        let frames: Vec<_> = self.queue.drain(..std::mem::take(&mut self.syncing)).collect();
        for (number, frame) in &frames {
            self.records.push_back((*number, self.end()));
            self.image.extend_from_slice(frame);
            self.stated = u64::from_le_bytes(*frame[8..].first_chunk().expect("a header"));
            let (_, items) = read(&frame[HEADER..]).expect("a record that was just made");
            items.into_iter().for_each(|item| self.durable.take(*number, item));
        }
        frames.last().map_or(0, |(number, _)| *number)
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.queue.iter().map(|(_, frame)| frame.len()).sum()
    }

    /// Bytes of the log.
    pub fn size(&self) -> usize {
        self.image.len()
    }

    /// The node ends: the first `survive` bytes that wait have reached the disk, the others not.
    pub fn crash(&mut self, survive: usize) {
        let waiting: Vec<u8> = self.queue.drain(..).flat_map(|(_, frame)| frame).collect();
        self.image.extend_from_slice(&waiting[..survive]);
        self.syncing = 0;
    }

    /// Records before this one are needed no more.
    pub fn let_go(&mut self, number: u64) {
        while self.records.get(1).is_some_and(|_| self.records[0].0 < number) {
            self.records.pop_front();
        }
        let from = self.records.front().map_or(self.base, |&(_, position)| position);
        self.image.drain(..(from - self.base) as usize);
        self.base = from;
    }

    /// Turns one bit of what is known to be durable; false if there is nothing.
    pub fn turn_bit(&mut self, at: u64) -> bool {
        // What was acknowledged since no frame states yet; the write-ahead log seals that, too.
        let known = self.stated.saturating_sub(self.base) as usize;
        if known == 0 {
            return false;
        }
        self.image[at as usize % known] ^= 1 << (at % 8);
        true
    }

    /// Reads the log at a start, and cuts off what is torn.
    pub fn open(&mut self) -> Found {
        let mut recovery = Recovery::default();
        let (mut at, mut stated) = (0, 0);
        self.records.clear();
        while let Some((durable, record)) = frame(&self.image[at..]) {
            stated = stated.max(durable);
            recovery.take(record).expect("a log whose frames are whole");
            self.records.push_back((recovery.state().last, self.base + at as u64));
            at += HEADER + record.len();
        }
        // Behind the place there may be frames that say more.
        let behind = (at..self.image.len()).filter_map(|from| frame(&self.image[from..]));
        stated = behind.map(|(durable, _)| durable).fold(stated, u64::max);
        if self.base + (at as u64) < stated {
            *self = Disk::new();
            return Found::Damage;
        }
        self.image.truncate(at);
        self.stated = stated;
        let start = recovery.finish().expect("a log from which only its end is missing");
        (self.written, self.durable) = (start.clone(), start.clone());
        Found::Whole(start)
    }

    fn end(&self) -> u64 {
        self.base + self.image.len() as u64
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

/// The first frame of some bytes, if it is whole: what it says to be durable, and its record.
fn frame(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut source = Source::new(bytes);
    let (length, crc) = (source.u32()?, source.u32()?);
    let rest = source.take(8 + length as usize)?;
    if length == 0 || crc32c(rest) != crc {
        return None;
    }
    let (durable, record) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*durable), record))
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}
