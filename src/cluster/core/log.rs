//! The log of a node's groups: what is durable of all of them, as records one behind the other.
//!
//! ```text
//!   record   version u8 = 1 | number u64 | item ...           numbers ascend by one
//!   item     1 node     disk u64 | stage u8 | table string (empty: none; of a lost one: cluster)
//!            2 group    group u16 | replica varint | snapshot u8 | hard state | [snapshot]
//!                       | count varint | [first index varint | count x entry]
//!            3 removed  group u16 | replica varint
//! ```
//!
//! All groups of a node share one log, and one sync makes durable what all of them had to say. The
//! state after a record is a function of that record and the state before ([`Recovery`]); so what a
//! crash leaves of the log, always a prefix of its records, is a state that the node was in.
//!
//! Invariants: entries take the place of what was at their index and behind; a snapshot of the own
//! state lets entries up to it go, a received one all; what a removed replica had is gone, and its
//! id never comes back. Deliberately absent: checksums, positions and what is durable, which the
//! write-ahead log around these records has.

pub mod codec;

use super::group::{Checkpoint, Persist};
use super::message::{GroupId, META};
use super::table::Table;
use crate::limits::CLUSTER_NUMBER_MAX;
use crate::util::wire::{Source, put_string, put_varint};
use raft::eraftpb::{Entry, HardState, Snapshot};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const VERSION: u8 = 1;
/// Bytes in front of the first item.
const HEADER_BYTES: usize = 1 + 8;

const NODE: u8 = 1;
const GROUP: u8 = 2;
const REMOVED: u8 = 3;

/// What a node is, as its disk has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The random number that the disk was given at its first start.
    pub disk: u64,
    /// How far its birth has come.
    pub birth: Birth,
}

/// How far a node's birth has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Birth {
    /// It was never part of a cluster.
    Unborn,
    /// It was part of this one (0: of which is not known), and its log was damaged and set aside.
    Lost(u64),
    /// It agreed to this founding table; the meta group must not start yet.
    Prepared(Table),
    /// It is part of a cluster, and this is the newest table that it knew.
    Member(Table),
}

/// What is durable of one replica.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Its id.
    pub replica: u64,
    /// Term, vote and commit.
    pub hard_state: HardState,
    /// The snapshot in front of the entries; of index 0 if there is none.
    pub snapshot: Snapshot,
    /// The entries behind it.
    pub entries: Vec<Entry>,
    /// The records in which they lie.
    pub places: Places,
}

/// In which records the entries of a replica lie, as far as they are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Record and first entry in it; the index of the last entry of all.
    firsts: VecDeque<(u64, u64)>,
    last: u64,
    /// Snapshots that wait to be durable, and let entries go then: record, index, and whether one
    /// was received and lets all go that was before.
    snapshots: VecDeque<(u64, u64, bool)>,
}

impl Places {
    /// A write goes into the record of this number.
    pub fn take(&mut self, number: u64, write: &Persist) {
        if let Some(checkpoint) = &write.checkpoint {
            let (Checkpoint::Own(snapshot) | Checkpoint::Received(snapshot)) = checkpoint;
            let is_received = matches!(checkpoint, Checkpoint::Received(_));
            self.snapshots.push_back((number, snapshot.get_metadata().index, is_received));
        }
        if let (Some(first), Some(last)) = (write.entries.first(), write.entries.last()) {
            while self.firsts.pop_back_if(|(_, of)| *of >= first.index).is_some() {}
            self.firsts.push_back((number, first.index));
            self.last = last.index;
        }
    }

    /// Everything up to this record is durable.
    pub fn durable(&mut self, number: u64) {
        while let Some((of, index, is_received)) =
            self.snapshots.pop_front_if(|(of, ..)| *of <= number)
        {
            if is_received {
                self.firsts.retain(|(record, _)| *record >= of);
            } else {
                self.cover(index);
            }
        }
    }

    /// The oldest record that is needed, if there is one.
    pub fn oldest(&self) -> Option<u64> {
        self.firsts.front().map(|&(number, _)| number)
    }

    /// Entries up to `index` are needed no more.
    fn cover(&mut self, index: u64) {
        while self.firsts.get(1).is_some_and(|(_, first)| *first <= index.saturating_add(1)) {
            self.firsts.pop_front();
        }
        if self.last <= index {
            self.firsts.clear();
        }
    }
}

/// What a node starts with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeStart {
    /// Who it is; `None` at its first start.
    pub identity: Option<Identity>,
    /// Its replicas.
    pub groups: BTreeMap<GroupId, Stored>,
    /// Replicas that it had and must never have again.
    pub removed: BTreeSet<(GroupId, u64)>,
    /// The number of the last record; 0 if there is none.
    pub last: u64,
    /// There is nothing because the log was damaged, and set aside: one of a node of this cluster,
    /// or of 0 if that is not known.
    pub lost: Option<u64>,
}

/// What a record holds, one after the other.
#[derive(Clone, Debug)]
pub enum Item {
    /// Who the node is.
    Node(Identity),
    /// What this replica of this group wanted to have durable.
    Group(GroupId, u64, Persist),
    /// A replica is gone for good.
    Removed(GroupId, u64),
}

/// Why a log cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// A record of this version, which is not ours.
    Version(u8),
    /// The record behind this number is not whole, though its checksum was right.
    Unreadable(u64),
    /// The second number stands behind the first: records are missing between them.
    Missing(u64, u64),
    /// The entries of this group do not follow upon its snapshot.
    NotWhole(GroupId),
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecordError::Version(found) => {
                write!(f, "the log of the groups has version {found}, this server reads {VERSION}")
            }
            RecordError::Unreadable(last) => {
                write!(f, "the record behind number {last} of the groups' log cannot be read")
            }
            RecordError::Missing(last, found) => {
                write!(f, "records are missing in the groups' log: {found} follows upon {last}")
            }
            RecordError::NotWhole(group) => {
                write!(f, "the log of group {group} does not follow upon its snapshot")
            }
        }
    }
}

impl std::error::Error for RecordError {}

/// A record in the making.
#[derive(Debug, Default)]
pub struct Record {
    bytes: Vec<u8>,
}

impl Record {
    /// True if nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes so far.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Who the node is.
    pub fn node(&mut self, identity: &Identity) {
        let (stage, what) = match &identity.birth {
            Birth::Unborn => (0, Vec::new()),
            Birth::Prepared(table) => (1, table.encode()),
            Birth::Member(table) => (2, table.encode()),
            Birth::Lost(cluster) => (3, cluster.to_le_bytes().to_vec()),
        };
        let out = self.item(NODE);
        out.extend_from_slice(&identity.disk.to_le_bytes());
        out.push(stage);
        put_string(out, &what);
    }

    /// What a replica wants to have durable.
    pub fn group(&mut self, group: GroupId, replica: u64, write: &Persist) {
        let out = self.item(GROUP);
        out.extend_from_slice(&group.to_le_bytes());
        put_varint(out, replica);
        let (kind, snapshot) = match &write.checkpoint {
            None => (0, None),
            Some(Checkpoint::Own(snapshot)) => (1, Some(snapshot)),
            Some(Checkpoint::Received(snapshot)) => (2, Some(snapshot)),
        };
        out.push(kind);
        codec::put_hard_state(out, &write.hard_state);
        snapshot.into_iter().for_each(|snapshot| codec::put_snapshot(out, snapshot));
        put_varint(out, write.entries.len() as u64);
        let first = write.entries.first();
        first.into_iter().for_each(|entry| put_varint(out, entry.index));
        write.entries.iter().for_each(|entry| codec::put_entry(out, entry));
    }

    /// A replica is gone for good.
    pub fn removed(&mut self, group: GroupId, replica: u64) {
        let out = self.item(REMOVED);
        out.extend_from_slice(&group.to_le_bytes());
        put_varint(out, replica);
    }

    /// The bytes of the record that has this number; the next one begins empty.
    pub fn finish(&mut self, number: u64) -> Vec<u8> {
        assert!(!self.is_empty(), "a record of nothing");
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes[1..HEADER_BYTES].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    fn item(&mut self, tag: u8) -> &mut Vec<u8> {
        if self.bytes.is_empty() {
            self.bytes.push(VERSION);
            self.bytes.extend_from_slice(&[0; HEADER_BYTES - 1]);
        }
        self.bytes.push(tag);
        &mut self.bytes
    }
}

/// Reads a log, record by record.
#[derive(Debug, Default)]
pub struct Recovery {
    state: NodeStart,
}

impl Recovery {
    /// Takes the next record in. The first may have any number: what lies before it is needed no
    /// more, as a checkpoint behind it says.
    pub fn take(&mut self, record: &[u8]) -> Result<(), RecordError> {
        let last = self.state.last;
        if let Some(&version) = record.first().filter(|&&version| version != VERSION) {
            return Err(RecordError::Version(version));
        }
        let (number, items) = read(record).ok_or(RecordError::Unreadable(last))?;
        if last != 0 && number != last + 1 {
            return Err(RecordError::Missing(last, number));
        }
        items.into_iter().for_each(|item| self.state.take(number, item));
        self.state.last = number;
        Ok(())
    }

    /// What was read so far.
    pub fn state(&self) -> &NodeStart {
        &self.state
    }

    /// What the node starts with, if its replicas are whole.
    pub fn finish(self) -> Result<NodeStart, RecordError> {
        match self.state.groups.iter().find(|(_, stored)| !stored.is_whole()) {
            Some((&group, _)) => Err(RecordError::NotWhole(group)),
            None => Ok(self.state),
        }
    }
}

/// The number and the items of a record; `None` if it is of another version or not whole.
pub fn read(record: &[u8]) -> Option<(u64, Vec<Item>)> {
    let mut source = Source::new(record);
    let number = (source.u8()? == VERSION).then(|| source.u64())??;
    if number > CLUSTER_NUMBER_MAX {
        return None;
    }
    let mut items = Vec::new();
    while !source.is_empty() {
        items.push(item(&mut source)?);
    }
    Some((number, items))
}

fn item(source: &mut Source<'_>) -> Option<Item> {
    Some(match source.u8()? {
        NODE => Item::Node(identity(source)?),
        GROUP => {
            let (group, replica, write) = written(source)?;
            Item::Group(group, replica, write)
        }
        REMOVED => Item::Removed(group(source)?, codec::number(source)?),
        _ => return None,
    })
}

impl NodeStart {
    /// What is durable when `item` is, too, in the record of this number.
    pub fn take(&mut self, number: u64, item: Item) {
        match item {
            Item::Node(identity) => self.identity = Some(identity),
            Item::Group(group, replica, write) => {
                let stored = self.groups.entry(group).or_default();
                if stored.replica != replica {
                    *stored = Stored { replica, ..Stored::default() };
                }
                stored.take(number, write);
            }
            Item::Removed(group, replica) => {
                self.removed.insert((group, replica));
                self.groups.retain(|&of, stored| of != group || stored.replica != replica);
            }
        }
    }
}

/// Reads a whole log.
pub fn recover<'a>(records: impl Iterator<Item = &'a [u8]>) -> Result<NodeStart, RecordError> {
    let mut recovery = Recovery::default();
    for record in records {
        recovery.take(record)?;
    }
    recovery.finish()
}

impl Stored {
    /// What is durable when `write` is, too, in the record of this number.
    pub fn take(&mut self, number: u64, write: Persist) {
        self.places.take(number, &write);
        self.places.durable(number);
        match write.checkpoint {
            Some(Checkpoint::Own(snapshot)) => {
                let index = snapshot.get_metadata().index;
                self.entries.retain(|entry| entry.index > index);
                self.snapshot = snapshot;
            }
            Some(Checkpoint::Received(snapshot)) => {
                self.entries.clear();
                self.snapshot = snapshot;
            }
            None => {}
        }
        if let Some(first) = write.entries.first() {
            self.entries.truncate(self.entries.partition_point(|entry| entry.index < first.index));
            self.entries.extend(write.entries);
        }
        self.hard_state = write.hard_state;
    }

    /// True if the entry of `index` and `term` is there, or in the snapshot.
    pub fn has(&self, index: u64, term: u64) -> bool {
        let behind = index > self.snapshot.get_metadata().index;
        !behind || self.entries.iter().any(|entry| (entry.index, entry.term) == (index, term))
    }

    /// Index of the last entry.
    pub fn last(&self) -> u64 {
        self.entries.last().map_or(self.snapshot.get_metadata().index, |entry| entry.index)
    }

    fn is_whole(&self) -> bool {
        let before = self.snapshot.get_metadata().index;
        let follows = |(at, entry): (usize, &Entry)| entry.index == before + 1 + at as u64;
        self.entries.iter().enumerate().all(follows) && self.hard_state.commit <= self.last()
    }
}

/// All of a replica, as one write.
pub fn whole(stored: &Stored) -> Persist {
    let checkpoint = Some(Checkpoint::Received(stored.snapshot.clone()));
    let (hard_state, entries) = (stored.hard_state.clone(), stored.entries.clone());
    Persist { token: 0, hard_state, entries, checkpoint }
}

fn identity(source: &mut Source<'_>) -> Option<Identity> {
    let (disk, stage, table) = (source.u64()?, source.u8()?, source.string()?);
    let birth = match stage {
        0 if table.is_empty() => Birth::Unborn,
        1 => Birth::Prepared(Table::decode(table)?),
        2 => Birth::Member(Table::decode(table)?),
        3 => Birth::Lost(u64::from_le_bytes(table.try_into().ok()?)),
        _ => return None,
    };
    Some(Identity { disk, birth })
}

fn group(source: &mut Source<'_>) -> Option<GroupId> {
    source.u16().filter(|group| *group <= META)
}

fn written(source: &mut Source<'_>) -> Option<(GroupId, u64, Persist)> {
    let (group, replica, kind) = (group(source)?, codec::number(source)?, source.u8()?);
    let hard_state = codec::hard_state(source)?;
    let checkpoint = match kind {
        0 => None,
        1 => Some(Checkpoint::Own(codec::snapshot(source)?)),
        2 => Some(Checkpoint::Received(codec::snapshot(source)?)),
        _ => return None,
    };
    let count = codec::count(source)?;
    let first = if count > 0 { codec::number(source)? } else { 0 };
    let end = first.checked_add(count)?;
    let entries = (first..end).map(|index| codec::entry(source, index)).collect::<Option<_>>()?;
    Some((group, replica, Persist { token: 0, hard_state, entries, checkpoint }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::core::group::birth;
    use crate::util::rng::SplitMix64;

    fn entries(indexes: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
        let entry = |index| {
            let data = vec![term as u8; index as usize % 5].into();
            Entry { index, term, data, ..Entry::default() }
        };
        indexes.map(entry).collect()
    }

    fn snapshot(index: u64, term: u64) -> Snapshot {
        let mut snapshot = birth(&[1, 2, 3], 9, b"state");
        (snapshot.mut_metadata().index, snapshot.mut_metadata().term) = (index, term);
        snapshot
    }

    fn write(term: u64, commit: u64, entries: Vec<Entry>) -> Persist {
        let hard_state = HardState { term, vote: 3, commit, ..HardState::default() };
        Persist { token: 0, hard_state, entries, checkpoint: None }
    }

    /// A log in which everything happens that can, and for each record what must be there behind
    /// it, said once more: (group, replica, term, commit, snapshot, (index, term) of entries).
    type Said = (GroupId, u64, u64, u64, u64, Vec<(u64, u64)>);
    fn life() -> Vec<(Record, Vec<Said>)> {
        let mut steps = Vec::new();
        let mut step = |make: &dyn Fn(&mut Record), said: Vec<Said>| {
            let mut record = Record::default();
            make(&mut record);
            steps.push((record, said));
        };
        let born = |commit, entries| Persist {
            checkpoint: Some(Checkpoint::Received(snapshot(1, 1))),
            ..write(1, commit, entries)
        };
        let of = |index, term| (index, term);
        step(&|r| r.node(&Identity { disk: 5, birth: Birth::Lost(1 << 40) }), vec![]);
        step(
            &|r| {
                r.node(&Identity { disk: 5, birth: Birth::Member(Table::example()) });
                r.group(0, 1, &born(0, vec![]));
                r.group(64, 7, &born(0, vec![]));
            },
            vec![(0, 1, 1, 0, 1, vec![]), (64, 7, 1, 0, 1, vec![])],
        );
        step(
            &|r| {
                r.group(0, 1, &write(2, 1, entries(2..5, 2)));
                r.group(64, 7, &write(2, 1, entries(2..3, 2)));
                r.group(0, 1, &write(2, 3, entries(5..6, 2)));
            },
            vec![
                (0, 1, 2, 3, 1, vec![of(2, 2), of(3, 2), of(4, 2), of(5, 2)]),
                (64, 7, 2, 1, 1, vec![of(2, 2)]),
            ],
        );
        // Entries that were not committed are overwritten, and those behind them are gone.
        step(
            &|r| r.group(0, 1, &write(4, 3, entries(4..5, 4))),
            vec![
                (0, 1, 4, 3, 1, vec![of(2, 2), of(3, 2), of(4, 4)]),
                (64, 7, 2, 1, 1, vec![of(2, 2)]),
            ],
        );
        let own = Some(Checkpoint::Own(snapshot(3, 2)));
        step(
            &|r| r.group(0, 1, &Persist { checkpoint: own.clone(), ..write(5, 4, vec![]) }),
            vec![(0, 1, 5, 4, 3, vec![of(4, 4)]), (64, 7, 2, 1, 1, vec![of(2, 2)])],
        );
        let received = Some(Checkpoint::Received(snapshot(9, 6)));
        step(
            &|r| {
                let write = write(6, 9, entries(10..12, 6));
                r.group(0, 1, &Persist { checkpoint: received.clone(), ..write });
            },
            vec![(0, 1, 6, 9, 9, vec![of(10, 6), of(11, 6)]), (64, 7, 2, 1, 1, vec![of(2, 2)])],
        );
        step(&|r| r.removed(0, 1), vec![(64, 7, 2, 1, 1, vec![of(2, 2)])]);
        step(
            &|r| r.group(0, 30, &Persist { checkpoint: None, ..write(0, 0, vec![]) }),
            vec![(0, 30, 0, 0, 0, vec![]), (64, 7, 2, 1, 1, vec![of(2, 2)])],
        );
        steps
    }

    fn say(start: &NodeStart) -> Vec<Said> {
        let say = |(&group, stored): (&GroupId, &Stored)| {
            let entries = stored.entries.iter().map(|entry| (entry.index, entry.term)).collect();
            let hard = &stored.hard_state;
            let index = stored.snapshot.get_metadata().index;
            (group, stored.replica, hard.term, hard.commit, index, entries)
        };
        start.groups.iter().map(say).collect()
    }

    /// Frames as any log would have them: a record counts if all of it is there.
    fn framed(records: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        records.iter().for_each(|record| put_string(&mut out, record));
        out
    }

    fn unframed(bytes: &[u8]) -> Vec<&[u8]> {
        let mut source = Source::new(bytes);
        std::iter::from_fn(|| source.string()).collect()
    }

    #[test]
    fn at_every_byte_a_crash_leaves_the_state_behind_a_record() {
        let life = life().into_iter().zip(40..);
        let (records, said): (Vec<_>, Vec<_>) =
            life.map(|((mut record, said), number)| (record.finish(number), said)).unzip();
        let bytes = framed(&records);
        for end in 0..=bytes.len() {
            let whole = unframed(&bytes[..end]);
            let start = recover(whole.iter().copied()).unwrap();
            let expected = whole.len().checked_sub(1).map_or(&[][..], |last| &said[last]);
            assert_eq!(say(&start), expected, "cut at byte {end}");
            let last = whole.len().checked_sub(1).map_or(0, |at| at as u64 + 40);
            assert_eq!(start.last, last, "cut at byte {end}");
            assert_eq!(start.identity.is_some(), !whole.is_empty());
            assert_eq!(start.removed.contains(&(0, 1)), whole.len() >= 7);
        }
        let start = recover(records.iter().map(|record| &record[..])).unwrap();
        assert_eq!(start.groups[&64].snapshot, snapshot(1, 1));
        let member = Birth::Member(Table::example());
        assert_eq!(start.identity, Some(Identity { disk: 5, birth: member }));
    }

    #[test]
    fn what_is_not_whole_is_refused_and_never_a_panic() {
        let mut rng = SplitMix64::new(11);
        for (mut record, _) in life() {
            let bytes = record.finish(1);
            for end in 0..bytes.len() {
                // An item ends where the next begins: only a cut there can be read.
                let _ = Recovery::default().take(&bytes[..end]);
            }
            for at in 0..bytes.len() {
                let mut turned = bytes.clone();
                turned[at] ^= 1 << rng.below(8);
                let _ = Recovery::default().take(&turned);
            }
        }
        let mut bytes = vec![2];
        assert_eq!(Recovery::default().take(&bytes), Err(RecordError::Version(2)));
        bytes[0] = 1;
        assert_eq!(Recovery::default().take(&bytes), Err(RecordError::Unreadable(0)));
    }

    #[test]
    fn missing_records_and_gaps_are_noticed() {
        let mut life = life();
        let records: Vec<Vec<u8>> =
            (1..).zip(&mut life).map(|(number, (record, _))| record.finish(number)).collect();
        let without = |missing: usize| {
            let kept = records.iter().enumerate().filter(|(at, _)| *at != missing);
            recover(kept.map(|(_, record)| &record[..])).err()
        };
        assert_eq!(without(2), Some(RecordError::Missing(2, 4)));
        let mut record = Record::default();
        record.group(3, 1, &write(1, 0, entries(4..6, 1)));
        let bytes = record.finish(1);
        assert_eq!(recover([&bytes[..]].into_iter()), Err(RecordError::NotWhole(3)));
    }

    #[test]
    fn entries_are_needed_until_the_snapshot_above_them_is_durable() {
        let mut places = Places::default();
        places.take(5, &write(1, 0, entries(2..6, 1)));
        let checkpoint = Some(Checkpoint::Own(snapshot(5, 1)));
        places.take(6, &Persist { checkpoint, ..write(1, 5, vec![]) });
        places.durable(5);
        assert_eq!(places.oldest(), Some(5));
        places.durable(6);
        assert_eq!(places.oldest(), None);
        places.take(7, &write(1, 5, entries(6..9, 1)));
        places.take(8, &write(2, 5, entries(6..7, 2)));
        assert_eq!(places.oldest(), Some(8), "all of the record before was overwritten");
        let checkpoint = Some(Checkpoint::Received(snapshot(20, 2)));
        places.take(9, &Persist { checkpoint, ..write(2, 20, entries(21..22, 2)) });
        places.durable(9);
        assert_eq!(places.oldest(), Some(9));
    }

    /// The log in front of a checkpoint is gone: what stands behind it is found to be whole.
    #[test]
    fn a_checkpoint_takes_the_place_of_what_was_before() {
        let mut records = Vec::new();
        let mut add = |write: Persist| {
            let mut record = Record::default();
            record.group(0, 1, &write);
            records.push(record.finish(10 + records.len() as u64));
        };
        add(write(2, 4, entries(5..9, 2)));
        add(write(3, 4, entries(7..8, 3)));
        add(Persist { checkpoint: Some(Checkpoint::Own(snapshot(5, 2))), ..write(3, 6, vec![]) });
        let start = recover(records.iter().map(|record| &record[..])).unwrap();
        assert_eq!(say(&start), [(0, 1, 3, 6, 5, vec![(6, 2), (7, 3)])]);
    }
}
