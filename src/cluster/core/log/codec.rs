//! Values of the consensus library as bytes: entries, snapshots, configurations, hard states.
//!
//! ```text
//!   hard state     term varint | vote varint | commit varint
//!   entry          term varint | kind u8 | data string | context string
//!   configuration  voters ids | learners ids | outgoing ids | learners next ids | auto leave u8
//!   ids            count varint | count x varint
//!   snapshot       index varint | term varint | configuration | data string
//! ```
//!
//! A format of our own, for the log and for the wire: bytes from outside never reach the library's
//! parser. Reading answers `None` for what is not whole, for numbers with which sums would overflow
//! and for lists that are longer than any that is written, and takes no more memory than there are
//! bytes.

use crate::limits::{CLUSTER_NUMBER_MAX, GROUP_MEMBERS_MAX};
use crate::util::wire::{Source, put_string, put_varint};
use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};

/// Appends a hard state.
pub fn put_hard_state(out: &mut Vec<u8>, state: &HardState) {
    [state.term, state.vote, state.commit].into_iter().for_each(|value| put_varint(out, value));
}

/// Reads a hard state.
pub fn hard_state(source: &mut Source<'_>) -> Option<HardState> {
    let (term, vote, commit) = (number(source)?, number(source)?, number(source)?);
    Some(HardState { term, vote, commit, ..HardState::default() })
}

/// Appends an entry without its index, which its place gives.
pub fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put_varint(out, entry.term);
    out.push(match entry.get_entry_type() {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    });
    put_string(out, &entry.data);
    put_string(out, &entry.context);
}

/// Reads the entry that stands at `index`.
pub fn entry(source: &mut Source<'_>, index: u64) -> Option<Entry> {
    let mut entry = Entry { index, term: number(source)?, ..Entry::default() };
    entry.set_entry_type(match source.u8()? {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => return None,
    });
    entry.data = source.string()?.to_vec().into();
    entry.context = source.string()?.to_vec().into();
    Some(entry)
}

/// Appends a configuration.
pub fn put_configuration(out: &mut Vec<u8>, conf: &ConfState) {
    put_ids(out, conf.get_voters());
    put_ids(out, conf.get_learners());
    put_ids(out, conf.get_voters_outgoing());
    put_ids(out, conf.get_learners_next());
    out.push(conf.auto_leave.into());
}

/// Reads a configuration.
pub fn configuration(source: &mut Source<'_>) -> Option<ConfState> {
    let mut conf = ConfState::default();
    conf.set_voters(ids(source)?);
    conf.set_learners(ids(source)?);
    conf.set_voters_outgoing(ids(source)?);
    conf.set_learners_next(ids(source)?);
    conf.auto_leave = flag(source)?;
    Some(conf)
}

/// Appends a snapshot.
pub fn put_snapshot(out: &mut Vec<u8>, snapshot: &Snapshot) {
    let meta = snapshot.get_metadata();
    put_varint(out, meta.index);
    put_varint(out, meta.term);
    put_configuration(out, meta.get_conf_state());
    put_string(out, &snapshot.data);
}

/// Reads a snapshot.
pub fn snapshot(source: &mut Source<'_>) -> Option<Snapshot> {
    let mut snapshot = Snapshot::default();
    let meta = snapshot.mut_metadata();
    (meta.index, meta.term) = (number(source)?, number(source)?);
    meta.set_conf_state(configuration(source)?);
    snapshot.data = source.string()?.to_vec().into();
    Some(snapshot)
}

/// Appends ids.
pub fn put_ids(out: &mut Vec<u8>, ids: &[u64]) {
    put_varint(out, ids.len() as u64);
    ids.iter().for_each(|&id| put_varint(out, id));
}

/// Reads ids of replicas.
pub fn ids(source: &mut Source<'_>) -> Option<Vec<u64>> {
    list(source, GROUP_MEMBERS_MAX, number)
}

/// Reads a counted list of `most` values at most. Each takes a byte at least, so that the count
/// cannot ask for more memory than there are bytes.
pub fn list<'a, T>(
    source: &mut Source<'a>,
    most: usize,
    take: impl Fn(&mut Source<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = count(source).filter(|&count| count <= most as u64)?;
    (0..count).map(|_| take(source)).collect()
}

/// Reads how many values follow, each of a byte at least.
pub fn count(source: &mut Source<'_>) -> Option<u64> {
    source.varint().filter(|&count| count <= source.rest().len() as u64)
}

/// Reads a number of which sums do not overflow: an index, a term, an id, a version.
pub fn number(source: &mut Source<'_>) -> Option<u64> {
    source.varint().filter(|&number| number <= CLUSTER_NUMBER_MAX)
}

/// Reads a truth value.
pub fn flag(source: &mut Source<'_>) -> Option<bool> {
    match source.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Reads a name of `most` bytes at most: it is shown in lines and lists, which it must not break.
pub fn name(source: &mut Source<'_>, most: usize) -> Option<String> {
    let bytes = source.string().filter(|bytes| bytes.len() <= most)?;
    String::from_utf8(bytes.to_vec()).ok().filter(|name| is_plain(name))
}

/// True if a name breaks no line and no list in which it is shown.
pub fn is_plain(name: &str) -> bool {
    !name.chars().any(|char| char.is_control() || char.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (HardState, Entry, Snapshot) {
        let hard_state = HardState { term: 300, vote: 7, commit: 1 << 40, ..HardState::default() };
        let mut entry = Entry { index: 9, term: 4, ..Entry::default() };
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        (entry.data, entry.context) = (vec![1, 2, 3].into(), vec![9; 200].into());
        let mut snapshot = Snapshot::default();
        let meta = snapshot.mut_metadata();
        (meta.index, meta.term) = (5, 2);
        let mut conf = ConfState::from((vec![1, 2, 300], vec![4]));
        conf.set_voters_outgoing(vec![1, 2, 3]);
        conf.set_learners_next(vec![3]);
        conf.auto_leave = true;
        meta.set_conf_state(conf);
        snapshot.data = vec![7; 70].into();
        (hard_state, entry, snapshot)
    }

    #[test]
    fn values_come_back_and_every_cut_of_them_is_refused() {
        let (hard, of_log, snap) = example();
        let mut out = Vec::new();
        put_hard_state(&mut out, &hard);
        put_entry(&mut out, &of_log);
        put_snapshot(&mut out, &snap);
        let read = |bytes: &[u8]| {
            let mut source = Source::new(bytes);
            let all = (hard_state(&mut source)?, entry(&mut source, 9)?, snapshot(&mut source)?);
            source.is_empty().then_some(all)
        };
        assert_eq!(read(&out), Some((hard, of_log, snap)));
        for end in 0..out.len() {
            assert_eq!(read(&out[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        assert_eq!(entry(&mut Source::new(&[1, 3, 0, 0]), 1), None, "an unknown kind");
        assert_eq!(flag(&mut Source::new(&[2])), None);
        assert_eq!(ids(&mut Source::new(&[200, 1, 1])), None, "a count beyond the bytes");
        assert_eq!(ids(&mut Source::new(&[17; 18])), None, "more than any group has");
        let mut far = Vec::new();
        put_varint(&mut far, CLUSTER_NUMBER_MAX + 1);
        assert_eq!(number(&mut Source::new(&far)), None, "a number beyond all others");
        assert_eq!(name(&mut Source::new(&[1, 0xff]), 9), None, "no text");
        assert_eq!(name(&mut Source::new(b"\x03a\nb"), 9), None, "it would break a line");
        assert_eq!(name(&mut Source::new(b"\x03a-b"), 2), None, "too long");
        assert_eq!(name(&mut Source::new(b"\x03a-b"), 3), Some("a-b".into()));
    }
}
