//! Collections as bytes, and back: the copy behaves as the original does, for ever.
//!
//! ```text
//!   list   count | element ...
//!   set    form | most members | longest member | count | member ...         in the dense order
//!   hash   form | most fields | longest element | count | field, value ...   in the dense order
//!   zset   form | most members | longest member | count | score, member ...  in the dense order
//! ```
//!
//! What a collection answers depends on the elements, their dense order (random draws and pops
//! pick by index) and its past (the extremes, from which the encodings that clients see and the
//! form follow). All of it is written down; nothing that depends on a hasher's seed, on spare
//! capacity or on where the nodes of a list begin is.
//!
//! Invariant: an object that was decoded has the digest of the one that was encoded, and encodes
//! to the same bytes. Whatever cannot have been written by [`Object::encode`] is refused:
//! duplicates, members out of order, NaN, a past smaller than the present, a form that the past
//! does not lead to, bytes left over. Memory grows with the bytes that are there, never with a
//! number that they announce.
//!
//! A large collection can be frozen and written piece by piece while it goes on changing
//! ([`super::frozen`]); the pieces joined are the same bytes. Deliberately absent: checksums, and
//! how long the whole is. Whoever stores the bytes frames them.

use super::{Extremes, Hash, List, Object, Set, ZSet};
use crate::limits::{PACKED_ELEMENT_BYTES, PACKED_LEN, SET_INTS_MAX};
use crate::store::Kind;
use crate::util::int::parse_i64;
use crate::util::wire::{Source, put_signed, put_string, put_varint};
use std::fmt;

/// A value that cannot have been written by this codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Bytes in front of the place where reading stopped.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {} of the value", self.what, self.offset)
    }
}

impl std::error::Error for Damaged {}

/// What the elements of a collection lie in, with its name on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Ascending integers.
    Ints = 0,
    /// One allocation.
    Packed = 1,
    /// A table by hash, or a table and a tree.
    Table = 2,
}

/// In the form byte of a set: no member was ever anything but an integer.
const INTEGERS_ONLY: u8 = 0x80;

impl Form {
    /// The form of a hash or sorted set with this past.
    fn of(extremes: Extremes) -> Form {
        let is_short = extremes.within(PACKED_LEN, PACKED_ELEMENT_BYTES);
        if is_short { Form::Packed } else { Form::Table }
    }

    /// The form of a set with this past.
    fn of_set(extremes: Extremes, integers_only: bool) -> Form {
        let is_ints = integers_only && extremes.len_max <= SET_INTS_MAX;
        if is_ints { Form::Ints } else { Form::of(extremes) }
    }
}

impl Object {
    /// Appends the whole object.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_head(out);
        match self {
            Object::List(list) => list.iter().for_each(|element| put_string(out, element)),
            Object::Set(set) => encode_set(set, out),
            Object::Hash(hash) => hash.iter().for_each(|(field, value)| {
                put_string(out, field);
                put_string(out, value);
            }),
            Object::ZSet(zset) => encode_zset(zset, out),
        }
    }

    /// The object of this kind that `bytes`, all of them, stand for.
    ///
    /// # Errors
    ///
    /// Anything that [`encode`](Self::encode) does not write.
    pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Object, Damaged> {
        let mut input = Input(Source::new(bytes));
        let object = match kind {
            Kind::String => return Err(input.damaged("a string is not a collection")),
            Kind::List => Object::List(decode_list(&mut input)?),
            Kind::Set => Object::Set(decode_set(&mut input)?),
            Kind::Hash => Object::Hash(decode_hash(&mut input)?),
            Kind::ZSet => Object::ZSet(decode_zset(&mut input)?),
        };
        input.check(input.0.is_empty(), "bytes behind the last element")?;
        Ok(object)
    }

    /// What is in front of the first element.
    pub(super) fn encode_head(&self, out: &mut Vec<u8>) {
        let past = match self {
            Object::List(_) => None,
            Object::Set(set) => {
                let form = Form::of_set(set.extremes(), set.integers_only()) as u8;
                let flag = if set.integers_only() { INTEGERS_ONLY } else { 0 };
                Some((form | flag, set.extremes()))
            }
            Object::Hash(hash) => Some((Form::of(hash.extremes()) as u8, hash.extremes())),
            Object::ZSet(zset) => Some((Form::of(zset.extremes()) as u8, zset.extremes())),
        };
        if let Some((form, extremes)) = past {
            out.push(form);
            put_varint(out, extremes.len_max as u64);
            put_varint(out, extremes.element_bytes_max as u64);
        }
        put_varint(out, self.len() as u64);
    }
}

fn encode_set(set: &Set, out: &mut Vec<u8>) {
    let is_ints = Form::of_set(set.extremes(), set.integers_only()) == Form::Ints;
    for member in set.iter() {
        match parse_i64(&member).filter(|_| is_ints) {
            Some(value) => put_signed(out, value),
            None => put_string(out, &member),
        }
    }
}

/// A packed set is walked by rank: there a place is found by counting.
fn encode_zset(zset: &ZSet, out: &mut Vec<u8>) {
    let mut put = |(member, score): (&[u8], f64)| {
        out.extend_from_slice(&score.to_le_bytes());
        put_string(out, member);
    };
    match Form::of(zset.extremes()) {
        Form::Packed => zset.iter(0..usize::MAX, false).for_each(&mut put),
        _ => (0..zset.len()).filter_map(|place| zset.get_place(place)).for_each(&mut put),
    }
}

/// The bytes of one object, and complaints about them.
struct Input<'a>(Source<'a>);

/// What precedes the elements of all but a list.
struct Past {
    form: u8,
    extremes: Extremes,
    count: usize,
}

impl<'a> Input<'a> {
    fn damaged(&self, what: &'static str) -> Damaged {
        Damaged { offset: self.0.offset(), what }
    }

    fn check(&self, holds: bool, what: &'static str) -> Result<(), Damaged> {
        if holds { Ok(()) } else { Err(self.damaged(what)) }
    }

    fn size(&mut self) -> Result<usize, Damaged> {
        self.0.size().ok_or(self.damaged("no number"))
    }

    fn string(&mut self) -> Result<&'a [u8], Damaged> {
        self.0.string().ok_or(self.damaged("no byte string"))
    }

    /// Form, extremes and count, of which the last agrees with the others.
    fn past(&mut self) -> Result<Past, Damaged> {
        let form = self.0.u8().ok_or(self.damaged("no form"))?;
        let (len_max, element_bytes_max) = (self.size()?, self.size()?);
        let count = self.size()?;
        self.check(count <= len_max, "more elements than there ever were")?;
        Ok(Past { form, extremes: Extremes { len_max, element_bytes_max }, count })
    }

    /// An element that is no longer than the longest that there ever was.
    fn element(&mut self, extremes: Extremes) -> Result<&'a [u8], Damaged> {
        let element = self.string()?;
        let is_known = element.len() <= extremes.element_bytes_max;
        self.check(is_known, "an element longer than there ever was")?;
        Ok(element)
    }
}

fn decode_list(input: &mut Input<'_>) -> Result<List, Damaged> {
    let mut list = List::new();
    for _ in 0..input.size()? {
        list.push_back(input.string()?);
    }
    Ok(list)
}

fn decode_set(input: &mut Input<'_>) -> Result<Set, Damaged> {
    let Past { form, extremes, count } = input.past()?;
    let integers_only = form & INTEGERS_ONLY != 0;
    let actual = Form::of_set(extremes, integers_only);
    input.check(form & !INTEGERS_ONLY == actual as u8, "a form that does not follow")?;
    let mut set = Set::with_history(extremes, integers_only);
    if actual == Form::Ints {
        return decode_ints(input, set, count);
    }
    for _ in 0..count {
        let member = input.element(extremes)?;
        let is_allowed = !integers_only || parse_i64(member).is_some();
        input.check(is_allowed, "a member that is no integer")?;
        input.check(set.insert(member), "a member that is there twice")?;
    }
    Ok(set)
}

fn decode_ints(input: &mut Input<'_>, mut set: Set, count: usize) -> Result<Set, Damaged> {
    let (mut last, mut buffer) = (None, itoa::Buffer::new());
    for _ in 0..count {
        let value = input.0.signed().ok_or(input.damaged("no integer"))?;
        input.check(last < Some(value), "integers out of order")?;
        let text = buffer.format(value).as_bytes();
        let is_known = text.len() <= set.extremes().element_bytes_max;
        input.check(is_known, "a number longer than there ever was")?;
        set.insert(text);
        last = Some(value);
    }
    Ok(set)
}

fn decode_hash(input: &mut Input<'_>) -> Result<Hash, Damaged> {
    let Past { form, extremes, count } = input.past()?;
    input.check(form == Form::of(extremes) as u8, "a form that does not follow")?;
    let mut hash = Hash::with_extremes(extremes);
    for _ in 0..count {
        let (field, value) = (input.element(extremes)?, input.element(extremes)?);
        input.check(hash.insert(field, value), "a field that is there twice")?;
    }
    Ok(hash)
}

fn decode_zset(input: &mut Input<'_>) -> Result<ZSet, Damaged> {
    let Past { form, extremes, count } = input.past()?;
    let actual = Form::of(extremes);
    input.check(form == actual as u8, "a form that does not follow")?;
    let mut zset = ZSet::with_extremes(extremes);
    for len in 0..count {
        let score = input.0.f64().ok_or(input.damaged("no score"))?;
        input.check(!score.is_nan(), "a score that is not a number")?;
        let member = input.element(extremes)?;
        if actual == Form::Packed {
            let is_negative_zero = score == 0.0 && score.is_sign_negative();
            input.check(!is_negative_zero, "a zero that this form does not hold")?;
            let last = len.checked_sub(1).and_then(|rank| zset.get(rank));
            let ascends = last.is_none_or(|(m, s)| s < score || s == score && m < member);
            input.check(ascends, "members out of order")?;
        }
        zset.insert(member, score);
        input.check(zset.len() == len + 1, "a member that is there twice")?;
    }
    Ok(zset)
}

#[cfg(test)]
mod tests;
