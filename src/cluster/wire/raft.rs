//! Messages of the consensus as bytes: every field, in a format of our own.
//!
//! ```text
//!   type u8 | flags u8 | to | from | term | log term | index | commit | commit term
//!   | request snapshot | reject hint | priority | priority of old versions | context
//!   | count, entries | snapshot, if flag 1
//!   entry     type u8 | flags u8 | term | index | data | context
//!   snapshot  index | term | configuration | data
//!   configuration   flags u8 | four lists of replicas: voters, learners, outgoing, next learners
//! ```
//!
//! Numbers are varints (the priority is signed), byte strings carry their length. Flags: bit 0,
//! refused (message), to be synced (entry), left by itself (configuration); bit 1, a snapshot
//! follows.
//!
//! The library's own encoding is never read from a peer: its parser recurses as deep as a message
//! says. Invariant: what is decoded encodes to the same bytes.

use crate::cluster::core::{ConfState, Entry, EntryType, Message, MessageType, Snapshot};
use crate::util::wire::{Source, put_signed, put_string, put_varint};
use protobuf::ProtobufEnum;

const REFUSED: u8 = 1;
const SNAPSHOT: u8 = 2;
const SYNC_LOG: u8 = 1;
const AUTO_LEAVE: u8 = 1;

/// Appends a message.
pub fn put_message(out: &mut Vec<u8>, message: &Message) {
    out.push(message.get_msg_type().value() as u8);
    let refused = if message.reject { REFUSED } else { 0 };
    out.push(refused | if message.has_snapshot() { SNAPSHOT } else { 0 });
    for number in [
        message.to,
        message.from,
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.request_snapshot,
        message.reject_hint,
    ] {
        put_varint(out, number);
    }
    put_signed(out, message.priority);
    put_varint(out, message.deprecated_priority);
    put_string(out, &message.context);
    put_varint(out, message.entries.len() as u64);
    message.entries.iter().for_each(|entry| put_entry(out, entry));
    if message.has_snapshot() {
        put_snapshot(out, message.get_snapshot());
    }
}

/// Takes a message; `None` if it is not whole, or says what no message can.
pub fn take_message(source: &mut Source<'_>) -> Option<Message> {
    let mut message = Message::default();
    message.set_msg_type(MessageType::from_i32(source.u8()?.into())?);
    let flags = source.u8().filter(|flags| flags & !(REFUSED | SNAPSHOT) == 0)?;
    message.reject = flags & REFUSED != 0;
    message.to = source.varint()?;
    message.from = source.varint()?;
    message.term = source.varint()?;
    message.log_term = source.varint()?;
    message.index = source.varint()?;
    message.commit = source.varint()?;
    message.commit_term = source.varint()?;
    message.request_snapshot = source.varint()?;
    message.reject_hint = source.varint()?;
    message.priority = source.signed()?;
    message.deprecated_priority = source.varint()?;
    message.context = source.string()?.to_vec().into();
    let entries = take_list(source, take_entry)?;
    message.set_entries(entries.into());
    if flags & SNAPSHOT != 0 {
        message.set_snapshot(take_snapshot(source)?);
    }
    Some(message)
}

/// Appends an entry.
pub fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.push(entry.get_entry_type().value() as u8);
    out.push(if entry.sync_log { SYNC_LOG } else { 0 });
    put_varint(out, entry.term);
    put_varint(out, entry.index);
    put_string(out, &entry.data);
    put_string(out, &entry.context);
}

/// Takes an entry.
pub fn take_entry(source: &mut Source<'_>) -> Option<Entry> {
    let mut entry = Entry::default();
    entry.set_entry_type(EntryType::from_i32(source.u8()?.into())?);
    let flags = source.u8().filter(|flags| flags & !SYNC_LOG == 0)?;
    entry.sync_log = flags & SYNC_LOG != 0;
    entry.term = source.varint()?;
    entry.index = source.varint()?;
    entry.data = source.string()?.to_vec().into();
    entry.context = source.string()?.to_vec().into();
    Some(entry)
}

/// Appends a snapshot.
pub fn put_snapshot(out: &mut Vec<u8>, snapshot: &Snapshot) {
    let meta = snapshot.get_metadata();
    put_varint(out, meta.index);
    put_varint(out, meta.term);
    put_configuration(out, meta.get_conf_state());
    put_string(out, &snapshot.data);
}

/// Takes a snapshot.
pub fn take_snapshot(source: &mut Source<'_>) -> Option<Snapshot> {
    let mut snapshot = Snapshot::default();
    let meta = snapshot.mut_metadata();
    meta.index = source.varint()?;
    meta.term = source.varint()?;
    meta.set_conf_state(take_configuration(source)?);
    snapshot.data = source.string()?.to_vec().into();
    Some(snapshot)
}

/// Appends a configuration.
pub fn put_configuration(out: &mut Vec<u8>, conf: &ConfState) {
    out.push(if conf.auto_leave { AUTO_LEAVE } else { 0 });
    let lists = [&conf.voters, &conf.learners, &conf.voters_outgoing, &conf.learners_next];
    for list in lists {
        put_varint(out, list.len() as u64);
        list.iter().for_each(|&replica| put_varint(out, replica));
    }
}

/// Takes a configuration.
pub fn take_configuration(source: &mut Source<'_>) -> Option<ConfState> {
    let mut conf = ConfState::default();
    let flags = source.u8().filter(|flags| flags & !AUTO_LEAVE == 0)?;
    conf.auto_leave = flags & AUTO_LEAVE != 0;
    conf.voters = take_list(source, Source::varint)?;
    conf.learners = take_list(source, Source::varint)?;
    conf.voters_outgoing = take_list(source, Source::varint)?;
    conf.learners_next = take_list(source, Source::varint)?;
    Some(conf)
}

/// Takes a counted list. Each element takes a byte at least, so that the count cannot ask for more
/// memory than there are bytes.
pub fn take_list<'a, T>(
    source: &mut Source<'a>,
    take: impl Fn(&mut Source<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = source.size().filter(|&count| count <= source.rest().len())?;
    (0..count).map(|_| take(source)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;
    use protobuf::Message as _;

    fn number(rng: &mut SplitMix64) -> u64 {
        rng.next_u64() >> (rng.next_u64() % 64)
    }

    fn bytes(rng: &mut SplitMix64) -> Vec<u8> {
        (0..rng.below(40)).map(|_| rng.next_u64() as u8).collect()
    }

    fn list(rng: &mut SplitMix64) -> Vec<u64> {
        (0..rng.below(4)).map(|_| number(rng)).collect()
    }

    fn entry(rng: &mut SplitMix64) -> Entry {
        let mut entry = Entry::default();
        entry.set_entry_type(EntryType::from_i32(rng.below(3) as i32).unwrap());
        (entry.term, entry.index) = (number(rng), number(rng));
        (entry.data, entry.context) = (bytes(rng).into(), bytes(rng).into());
        entry.sync_log = rng.below(2) == 1;
        entry
    }

    fn snapshot(rng: &mut SplitMix64) -> Snapshot {
        let mut snapshot = Snapshot { data: bytes(rng).into(), ..Snapshot::default() };
        let meta = snapshot.mut_metadata();
        (meta.index, meta.term) = (number(rng), number(rng));
        let conf = meta.mut_conf_state();
        (conf.voters, conf.learners) = (list(rng), list(rng));
        (conf.voters_outgoing, conf.learners_next) = (list(rng), list(rng));
        conf.auto_leave = rng.below(2) == 1;
        snapshot
    }

    fn message(rng: &mut SplitMix64) -> Message {
        let mut message = Message::default();
        message.set_msg_type(MessageType::from_i32(rng.below(19) as i32).unwrap());
        for field in [
            &mut message.to,
            &mut message.from,
            &mut message.term,
            &mut message.log_term,
            &mut message.index,
            &mut message.commit,
            &mut message.commit_term,
            &mut message.request_snapshot,
            &mut message.reject_hint,
            &mut message.deprecated_priority,
        ] {
            *field = number(rng);
        }
        message.priority = number(rng) as i64;
        message.reject = rng.below(2) == 1;
        message.context = bytes(rng).into();
        message.set_entries((0..rng.below(5)).map(|_| entry(rng)).collect::<Vec<_>>().into());
        if rng.below(2) == 1 {
            message.set_snapshot(snapshot(rng));
        }
        message
    }

    /// The library's encoding shows every field, those that we might have forgotten included.
    #[test]
    fn every_field_of_every_message_comes_back() {
        let seed = 4711;
        println!("seed {seed}");
        let mut rng = SplitMix64::new(seed);
        for round in 0..2000 {
            let sent = message(&mut rng);
            let mut out = Vec::new();
            put_message(&mut out, &sent);
            let mut source = Source::new(&out);
            let got = take_message(&mut source).unwrap_or_else(|| panic!("seed {seed}: {sent:?}"));
            assert!(source.is_empty());
            assert_eq!(got, sent, "seed {seed}, round {round}");
            assert_eq!(got.write_to_bytes().unwrap(), sent.write_to_bytes().unwrap());
            for end in 0..out.len() {
                assert_eq!(take_message(&mut Source::new(&out[..end])), None, "cut at {end}");
            }
        }
    }

    #[test]
    fn what_is_accepted_has_one_spelling() {
        let seed = 4711;
        let mut rng = SplitMix64::new(seed);
        for _ in 0..3000 {
            let mut out = Vec::new();
            put_message(&mut out, &message(&mut rng));
            let at = rng.below(out.len() as u64) as usize;
            out[at] ^= 1 << rng.below(8);
            let mut source = Source::new(&out);
            if let Some(got) = take_message(&mut source) {
                let mut again = Vec::new();
                put_message(&mut again, &got);
                assert_eq!(again, out[..source.offset()], "seed {seed}");
            }
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_asks_for_no_memory() {
        let mut out = Vec::new();
        put_message(&mut out, &Message::default());
        assert_eq!(out.pop(), Some(0), "no entries");
        put_varint(&mut out, u64::MAX >> 1);
        assert_eq!(take_message(&mut Source::new(&out)), None);
    }
}
