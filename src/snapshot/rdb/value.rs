//! Values in the encodings of Redis, and the plain ones in which they are written.

use super::RdbError;
use super::input::Input;
use super::packed::{self, Item};
use crate::store::Object;
use crate::store::objects::zset::Inserted;
use crate::store::objects::{Hash, List, Set, ZSet};
use crate::util::float::parse_f64;
use crate::util::int::parse_i64;
use crate::util::lzf;
use std::io::{self, Read};

/// The types of values, by the byte that stands in front of the key.
mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    pub const ZSET_2: u8 = 5;
    pub const MODULE: u8 = 6;
    pub const MODULE_2: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_3: u8 = 21;
}

/// Nodes of a quicklist: one large element, or a listpack.
const NODE_PLAIN: u64 = 1;
const NODE_PACKED: u64 = 2;

/// A value that was read. A collection may be empty here.
#[derive(Debug)]
pub enum RdbValue {
    /// A string.
    Str(Vec<u8>),
    /// A collection.
    Object(Object),
}

/// A value to be written.
#[derive(Clone, Copy, Debug)]
pub enum RdbValueRef<'a> {
    /// A string.
    Str(&'a [u8]),
    /// A collection.
    Object(&'a Object),
}

/// What there is in RDB files that dse does not have; `None` for a type that it has.
pub fn unsupported(kind: u8) -> Option<&'static str> {
    match kind {
        kind::MODULE | kind::MODULE_2 => Some("a value of a module"),
        kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => Some("a stream"),
        _ => None,
    }
}

/// True when `kind` is the type of a value that [`read`] reads.
pub fn is_known(kind: u8) -> bool {
    kind <= kind::SET_LISTPACK && kind != 8 && unsupported(kind).is_none()
}

/// Reads a value of this type.
pub fn read<R: Read>(input: &mut Input<R>, kind: u8) -> Result<RdbValue, RdbError> {
    Ok(RdbValue::Object(match kind {
        kind::STRING => return input.string().map(RdbValue::Str),
        kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
            Object::List(read_list(input, kind)?)
        }
        kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => Object::Set(read_set(input, kind)?),
        kind::HASH | kind::HASH_ZIPMAP | kind::HASH_ZIPLIST | kind::HASH_LISTPACK => {
            Object::Hash(read_hash(input, kind)?)
        }
        kind::ZSET | kind::ZSET_2 | kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => {
            Object::ZSet(read_zset(input, kind)?)
        }
        _ => return Err(input.damaged("an unknown type of value")),
    }))
}

/// How a packed string is taken apart.
type Unpack = for<'a> fn(&'a [u8]) -> Option<Vec<Item<'a>>>;

/// Reads a packed string and gives its elements to `add`; false from `add` is damage.
fn unpack<R: Read>(
    input: &mut Input<R>,
    unpack: Unpack,
    add: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), RdbError> {
    let bytes = input.string()?;
    let items = unpack(&bytes).ok_or(input.damaged("a packed value that makes no sense"))?;
    let mut buffer = itoa::Buffer::new();
    let is_fine = items.iter().all(|item| add(item.text(&mut buffer)));
    if is_fine { Ok(()) } else { Err(input.damaged("elements that cannot be together")) }
}

/// As [`unpack`], for elements that come in pairs.
fn unpack_pairs<R: Read>(
    input: &mut Input<R>,
    how: Unpack,
    add: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), RdbError> {
    let mut first: Option<Vec<u8>> = None;
    unpack(input, how, &mut |element| match first.take() {
        Some(first) => add(&first, element),
        None => {
            first = Some(element.to_vec());
            true
        }
    })?;
    let is_even = first.is_none();
    if is_even { Ok(()) } else { Err(input.damaged("half a pair")) }
}

fn read_list<R: Read>(input: &mut Input<R>, kind: u8) -> Result<List, RdbError> {
    let mut list = List::new();
    if kind == kind::LIST_ZIPLIST {
        let mut push = |element: &[u8]| {
            list.push_back(element);
            true
        };
        unpack(input, packed::ziplist, &mut push)?;
        return Ok(list);
    }
    for _ in 0..input.len()? {
        let node = if kind == kind::LIST_QUICKLIST_2 { input.len()? } else { NODE_PLAIN };
        let how: Unpack = match (kind, node) {
            (kind::LIST_QUICKLIST, _) => packed::ziplist,
            (_, NODE_PACKED) => packed::listpack,
            (_, NODE_PLAIN) => {
                list.push_back(&input.string()?);
                continue;
            }
            _ => return Err(input.damaged("an unknown node of a list")),
        };
        unpack(input, how, &mut |element| {
            list.push_back(element);
            true
        })?;
    }
    Ok(list)
}

fn read_set<R: Read>(input: &mut Input<R>, kind: u8) -> Result<Set, RdbError> {
    let mut set = Set::new();
    match kind {
        kind::SET_INTSET => unpack(input, packed::intset, &mut |member| set.insert(member))?,
        kind::SET_LISTPACK => unpack(input, packed::listpack, &mut |member| set.insert(member))?,
        _ => {
            for _ in 0..input.len()? {
                if !set.insert(&input.string()?) {
                    return Err(input.damaged("a member that is there twice"));
                }
            }
        }
    }
    Ok(set)
}

fn read_hash<R: Read>(input: &mut Input<R>, kind: u8) -> Result<Hash, RdbError> {
    let mut hash = Hash::new();
    let how: Unpack = match kind {
        kind::HASH_ZIPMAP => packed::zipmap,
        kind::HASH_ZIPLIST => packed::ziplist,
        kind::HASH_LISTPACK => packed::listpack,
        _ => {
            for _ in 0..input.len()? {
                let (field, value) = (input.string()?, input.string()?);
                if !hash.insert(&field, &value) {
                    return Err(input.damaged("a field that is there twice"));
                }
            }
            return Ok(hash);
        }
    };
    unpack_pairs(input, how, &mut |field, value| hash.insert(field, value))?;
    Ok(hash)
}

fn read_zset<R: Read>(input: &mut Input<R>, kind: u8) -> Result<ZSet, RdbError> {
    let mut zset = ZSet::new();
    let how: Unpack = match kind {
        kind::ZSET_ZIPLIST => packed::ziplist,
        kind::ZSET_LISTPACK => packed::listpack,
        _ => {
            for _ in 0..input.len()? {
                let member = input.string()?;
                let score = match kind {
                    kind::ZSET_2 => f64::from_le_bytes(input.array()?),
                    _ => read_spelled(input)?,
                };
                // NaN is not inserted either.
                if zset.insert(&member, score) != Inserted::Added {
                    return Err(input.damaged("a member that is there twice, or has no score"));
                }
            }
            return Ok(zset);
        }
    };
    unpack_pairs(input, how, &mut |member, score| {
        parse_f64(score).is_some_and(|score| zset.insert(member, score) == Inserted::Added)
    })?;
    Ok(zset)
}

/// A score spelled out behind one byte of length, or one of three special lengths.
fn read_spelled<R: Read>(input: &mut Input<R>) -> Result<f64, RdbError> {
    match input.u8()? {
        0xff => Ok(f64::NEG_INFINITY),
        0xfe => Ok(f64::INFINITY),
        0xfd => Ok(f64::NAN),
        len => {
            let text = input.bytes(len.into())?;
            parse_f64(&text).ok_or(input.damaged("a score that is no number"))
        }
    }
}

/// Shorter strings are not tried to be compressed.
const COMPRESS_ABOVE: usize = 20;
/// Bytes that compression has to save.
const COMPRESS_GAIN: usize = 4;

impl RdbValueRef<'_> {
    /// The byte that stands for the type in which the value is written.
    pub fn kind(self) -> u8 {
        match self {
            RdbValueRef::Str(_) => kind::STRING,
            RdbValueRef::Object(Object::List(_)) => kind::LIST,
            RdbValueRef::Object(Object::Set(_)) => kind::SET,
            RdbValueRef::Object(Object::Hash(_)) => kind::HASH,
            RdbValueRef::Object(Object::ZSet(_)) => kind::ZSET_2,
        }
    }

    /// Appends the value to `out`. `spill` is called now and then, and may empty it.
    pub fn write(
        self,
        compress: bool,
        out: &mut Vec<u8>,
        spill: &mut dyn FnMut(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let object = match self {
            RdbValueRef::Str(string) => {
                push_string(string, compress, out);
                return spill(out);
            }
            RdbValueRef::Object(object) => object,
        };
        push_len(object.len() as u64, out);
        let mut push = |elements: [Option<&[u8]>; 2], score: Option<f64>| {
            elements.iter().flatten().for_each(|element| push_string(element, compress, out));
            score.iter().for_each(|score| out.extend_from_slice(&score.to_le_bytes()));
            spill(out)
        };
        match object {
            Object::List(list) => list.iter().try_for_each(|e| push([Some(e), None], None)),
            Object::Set(set) => set.iter().try_for_each(|e| push([Some(&*e), None], None)),
            Object::Hash(hash) => hash.iter().try_for_each(|(f, v)| push([Some(f), Some(v)], None)),
            Object::ZSet(zset) => {
                let mut members = zset.iter(0..usize::MAX, false);
                members.try_for_each(|(member, score)| push([Some(member), None], Some(score)))
            }
        }
    }
}

/// Appends a string: as an integer or compressed where that is shorter.
pub fn push_string(string: &[u8], compress: bool, out: &mut Vec<u8>) {
    if let Some(integer) = parse_i64(string).and_then(|value| i32::try_from(value).ok()) {
        return push_integer(integer, out);
    }
    if compress
        && string.len() > COMPRESS_ABOVE
        && let Some(compressed) = lzf::compress(string)
        && compressed.len() + COMPRESS_GAIN <= string.len()
    {
        out.push(0xc3);
        push_len(compressed.len() as u64, out);
        push_len(string.len() as u64, out);
        out.extend_from_slice(&compressed);
        return;
    }
    push_len(string.len() as u64, out);
    out.extend_from_slice(string);
}

fn push_integer(value: i32, out: &mut Vec<u8>) {
    if let Ok(byte) = i8::try_from(value) {
        out.extend_from_slice(&[0xc0, byte as u8]);
    } else if let Ok(half) = i16::try_from(value) {
        out.push(0xc1);
        out.extend_from_slice(&half.to_le_bytes());
    } else {
        out.push(0xc2);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Appends a length.
pub fn push_len(len: u64, out: &mut Vec<u8>) {
    match len {
        0..0x40 => out.push(len as u8),
        0x40..0x4000 => out.extend_from_slice(&(len as u16 | 0x4000).to_be_bytes()),
        _ => match u32::try_from(len) {
            Ok(len) => {
                out.push(0x80);
                out.extend_from_slice(&len.to_be_bytes());
            }
            Err(_) => {
                out.push(0x81);
                out.extend_from_slice(&len.to_be_bytes());
            }
        },
    }
}
