//! Entries as bytes: a key with its database, deadline and value, and back.
//!
//! ```text
//!   database (1) | tag (1) | deadline (8, if the tag says so) | key length | key | value
//!                  kind 3 bits, DEADLINE, RAW
//! ```
//!
//! The value is all that follows the key: the bytes of a string, or what [`Object::encode`]
//! writes. So a value can be written piece by piece before its length is known; whoever stores
//! entries frames them.
//!
//! Invariant: what was decoded encodes to the same bytes; anything else is refused.
//! Deliberately absent: marks for eviction, LSNs, hashes. They are of one process only.

use super::entry::{EntryRef, Kind};
use super::hash::Key;
use super::held::{Held, Value};
use super::objects::Object;
use super::objects::codec::Damaged;
use crate::limits::{DATABASES, STRING_LEN_MAX};
use crate::util::wire::{Source, put_string};

const KIND: u8 = 0b111;
const DEADLINE: u8 = 1 << 3;
const RAW: u8 = 1 << 4;

/// Appends an entry. `object` is what a collection's entry holds, and `None` for a string.
pub fn encode_entry(db: u8, entry: EntryRef<'_>, object: Option<&Object>, out: &mut Vec<u8>) {
    encode_entry_head(db, entry, out);
    match object {
        Some(object) => object.encode(out),
        None => out.extend_from_slice(entry.value()),
    }
}

/// Appends all of an entry but its value, which the caller writes behind it.
pub fn encode_entry_head(db: u8, entry: EntryRef<'_>, out: &mut Vec<u8>) {
    let deadline = entry.deadline();
    let raw = if entry.is_raw() { RAW } else { 0 };
    let timed = if deadline.is_some() { DEADLINE } else { 0 };
    out.extend_from_slice(&[db, entry.kind() as u8 | timed | raw]);
    if let Some(deadline) = deadline {
        out.extend_from_slice(&deadline.to_le_bytes());
    }
    put_string(out, entry.key());
}

/// What [`encode_entry`] wrote.
#[derive(Debug)]
pub struct DecodedEntry<'a> {
    /// The database, below [`DATABASES`].
    pub db: u8,
    /// The key.
    pub key: &'a [u8],
    /// The moment (ms since 1970) at which the key ceases to exist; it may be past.
    pub deadline: Option<u64>,
    /// The value.
    pub value: DecodedValue<'a>,
}

/// The value of a [`DecodedEntry`].
#[derive(Debug)]
pub enum DecodedValue<'a> {
    /// A string.
    Str(&'a [u8]),
    /// A string that OBJECT ENCODING shows as raw whatever its length.
    Raw(&'a [u8]),
    /// A collection of at least one element.
    Object(Object),
}

impl<'a> DecodedEntry<'a> {
    /// The entry that `bytes`, all of them, stand for.
    ///
    /// # Errors
    ///
    /// Anything that [`encode_entry`] does not write.
    pub fn decode(bytes: &'a [u8]) -> Result<DecodedEntry<'a>, Damaged> {
        let mut source = Source::new(bytes);
        let head = decode_head(&mut source);
        let damaged = |what| Damaged { offset: source.offset(), what };
        let Head { db, tag, deadline, key } = head.ok_or(damaged("no database, tag or key"))?;
        if usize::from(db) >= DATABASES {
            return Err(damaged("a database that does not exist"));
        }
        let rest = source.rest();
        let value = match (decode_kind(tag).ok_or(damaged("an unknown kind"))?, tag & RAW != 0) {
            (Kind::String, _) if rest.len() > STRING_LEN_MAX => {
                return Err(damaged("a string that is too long"));
            }
            (Kind::String, false) => DecodedValue::Str(rest),
            (Kind::String, true) => DecodedValue::Raw(rest),
            (_, true) => return Err(damaged("a flag that collections do not have")),
            (kind, false) => {
                let further =
                    |inner: Damaged| Damaged { offset: inner.offset + source.offset(), ..inner };
                let object = Object::decode(kind, rest).map_err(further)?;
                if object.is_empty() {
                    return Err(damaged("a collection without elements"));
                }
                DecodedValue::Object(object)
            }
        };
        Ok(DecodedEntry { db, key, deadline, value })
    }

    /// Stores the entry. `key` is that of the entry, hashed; `held` holds its shard.
    pub fn put(self, held: &mut Held<'_>, key: &Key<'_>) {
        debug_assert!(key.bytes == self.key);
        match self.value {
            DecodedValue::Str(bytes) => held.put(self.db, key, Value::Str(bytes), self.deadline),
            DecodedValue::Raw(bytes) => {
                held.put(self.db, key, Value::Raw(&[bytes]), self.deadline);
            }
            DecodedValue::Object(object) => {
                held.put(self.db, key, Value::Object(object), self.deadline);
            }
        }
    }
}

struct Head<'a> {
    db: u8,
    tag: u8,
    deadline: Option<u64>,
    key: &'a [u8],
}

fn decode_head<'a>(source: &mut Source<'a>) -> Option<Head<'a>> {
    let (db, tag) = (source.u8()?, source.u8()?);
    let deadline = if tag & DEADLINE == 0 { None } else { Some(source.u64()?) };
    Some(Head { db, tag, deadline, key: source.string()? })
}

fn decode_kind(tag: u8) -> Option<Kind> {
    let kinds = [Kind::String, Kind::List, Kind::Set, Kind::Hash, Kind::ZSet];
    let kind = kinds.into_iter().find(|kind| *kind as u8 == tag & KIND)?;
    (tag & !(KIND | DEADLINE | RAW) == 0).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::objects::testing::Random;
    use crate::store::objects::{Hash, List};

    fn list(elements: usize) -> Value<'static> {
        let mut list = List::new();
        (0..elements).for_each(|n| list.push_front(n.to_string().as_bytes()));
        Value::Object(Object::List(list))
    }

    fn hash() -> Value<'static> {
        let mut hash = Hash::new();
        hash.insert(b"field", b"value");
        Value::Object(Object::Hash(hash))
    }

    /// All entries of `store`, in bytes.
    fn entries(store: &Store) -> Vec<Vec<u8>> {
        let (mut entries, mut cursor) = (Vec::new(), 0);
        for db in 0..DATABASES as u8 {
            loop {
                cursor = store.scan(db, cursor, 100, &mut |entry, object| {
                    let mut bytes = Vec::new();
                    encode_entry(db, entry, object, &mut bytes);
                    entries.push(bytes);
                });
                if cursor == 0 {
                    break;
                }
            }
        }
        entries.sort();
        entries
    }

    fn filled() -> Store {
        let store = Store::new(1);
        let long = vec![b'x'; 70_000];
        let values: [(&[u8], u8, Value<'_>, Option<u64>); 8] = [
            (b"", 0, Value::Str(b""), None),
            (b"short", 15, Value::Str(b"12"), Some(1)),
            (b"raw", 3, Value::Raw(&[b"1", b"2"]), None),
            (b"long raw", 3, Value::Raw(&[&long]), Some(u64::MAX)),
            (b"long", 0, Value::Str(&long), Some(77)),
            (b"list", 1, list(3), None),
            (b"long list", 1, list(3000), Some(5)),
            (b"hash", 1, hash(), None),
        ];
        for (name, db, value, deadline) in values {
            let key = store.key(name);
            store.lock_one(key.shard()).put(db, &key, value, deadline);
        }
        store
    }

    #[test]
    fn entries_come_back_into_another_store() {
        let (from, to) = (filled(), Store::new(2));
        let written = entries(&from);
        assert_eq!(written.len(), 8);
        for bytes in &written {
            let entry = DecodedEntry::decode(bytes).expect("what was encoded");
            let key = to.key(entry.key);
            entry.put(&mut to.lock_one(key.shard()), &key);
        }
        assert!(entries(&to) == written);
        let pin = crate::sync::reclaim::pin();
        assert!(to.get(&pin, 3, &to.key(b"raw")).is_some_and(|entry| entry.is_raw()));
    }

    #[test]
    fn damaged_entries_are_refused_or_say_what_they_are() {
        let mut random = Random::new("entry codec");
        for bytes in entries(&filled()) {
            for _ in 0..500 {
                let mut damaged = bytes.clone();
                let at = random.below(damaged.len().min(40));
                damaged[at] ^= 1 << random.below(8);
                damaged.truncate(random.below(bytes.len() * 3));
                let Ok(entry) = DecodedEntry::decode(&damaged) else { continue };
                let store = Store::new(3);
                let key = store.key(entry.key);
                entry.put(&mut store.lock_one(key.shard()), &key);
                assert!(entries(&store) == [damaged]);
            }
        }
        for bytes in
            [&b""[..], &[16, 0, 0], &[0, 5, 0], &[0, 0x20, 0], &[0, 0x11, 0], &[0, 1, 0, 0]]
        {
            assert!(DecodedEntry::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
