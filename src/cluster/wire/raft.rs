//! Messages of the consensus as bytes: every field, in a format of our own.
//!
//! ```text
//!   type u8 | flags u8 | to | from | term | log term | index | commit | commit term
//!   | request snapshot | reject hint | priority | priority of old versions | context
//!   | count, entries | snapshot, if flag 1
//!   entry     flags u8 | index | an entry as the log spells it
//! ```
//!
//! Entries, snapshots and configurations are spelled as in the log (`core::log::codec`). Numbers
//! are varints (the priority is signed), byte strings carry their length. Flags: bit 0, refused
//! (message), to be synced (entry); bit 1, a snapshot follows.
//!
//! The library's own encoding is never read from a peer: its parser recurses as deep as a message
//! says. Invariant: what is decoded encodes to the same bytes.

use crate::cluster::core::log::codec;
use crate::cluster::core::{Entry, Message, MessageType};
use crate::limits::GROUP_MESSAGE_ENTRIES_MAX;
use crate::util::wire::{Source, put_signed, put_string, put_varint};
use protobuf::ProtobufEnum;

const REFUSED: u8 = 1;
const SNAPSHOT: u8 = 2;
const SYNC_LOG: u8 = 1;

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
        codec::put_snapshot(out, message.get_snapshot());
    }
}

/// Takes a message; `None` if it is not whole, or says what no message can.
pub fn take_message(source: &mut Source<'_>) -> Option<Message> {
    let mut message = Message::default();
    message.set_msg_type(MessageType::from_i32(source.u8()?.into())?);
    let flags = source.u8().filter(|flags| flags & !(REFUSED | SNAPSHOT) == 0)?;
    message.reject = flags & REFUSED != 0;
    message.to = codec::number(source)?;
    message.from = codec::number(source)?;
    message.term = codec::number(source)?;
    message.log_term = codec::number(source)?;
    message.index = codec::number(source)?;
    message.commit = codec::number(source)?;
    message.commit_term = codec::number(source)?;
    message.request_snapshot = codec::number(source)?;
    message.reject_hint = codec::number(source)?;
    message.priority = source.signed()?;
    message.deprecated_priority = source.varint()?;
    message.context = source.string()?.to_vec().into();
    let entries = codec::list(source, GROUP_MESSAGE_ENTRIES_MAX, take_entry)?;
    message.set_entries(entries.into());
    if flags & SNAPSHOT != 0 {
        message.set_snapshot(codec::snapshot(source)?);
    }
    Some(message)
}

/// Appends an entry: what the log does not have of one, and then as the log spells it.
fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.push(if entry.sync_log { SYNC_LOG } else { 0 });
    put_varint(out, entry.index);
    codec::put_entry(out, entry);
}

/// Takes an entry.
fn take_entry(source: &mut Source<'_>) -> Option<Entry> {
    let flags = source.u8().filter(|flags| flags & !SYNC_LOG == 0)?;
    let index = codec::number(source)?;
    let mut entry = codec::entry(source, index)?;
    entry.sync_log = flags & SYNC_LOG != 0;
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::core::{EntryType, Snapshot};
    use crate::util::rng::SplitMix64;
    use protobuf::Message as _;

    fn number(rng: &mut SplitMix64) -> u64 {
        rng.next_u64() >> (4 + rng.next_u64() % 60)
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
