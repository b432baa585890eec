//! Redis' packed structures: one string that holds many elements.
//!
//! ```text
//!   listpack   bytes (4) | count (2) | element, its length again ... | 0xff
//!   ziplist    bytes (4) | tail (4) | count (2) | length of the one before, element ... | 0xff
//!   intset     width (4) | count (4) | integers ...
//!   zipmap     count (1) | length, field | length, spare, value, spare bytes ... | 0xff
//! ```
//!
//! All little-endian but the longer lengths in a ziplist. Every length, count and back
//! reference is checked; a structure that Redis would not have made is refused.

use crate::util::wire::Source;

/// An element: Redis keeps what looks like an integer as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// An integer.
    Int(i64),
}

impl<'a> Item<'a> {
    /// The element as a client sees it.
    pub fn text<'b>(&self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Item::Bytes(bytes) => bytes,
            Item::Int(value) => buffer.format(value).as_bytes(),
        }
    }
}

/// The end of a listpack, a ziplist or a zipmap.
const END: u8 = 0xff;
/// A count that says "too many to be told".
const COUNT_UNKNOWN: u16 = u16::MAX;

/// The elements of a listpack.
pub fn listpack(bytes: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut source = Source::new(bytes);
    let (total, count) = (source.u32()?, source.u16()?);
    let mut items = Vec::new();
    while source.rest() != [END] {
        let start = source.offset();
        items.push(listpack_item(&mut source)?);
        let len = source.offset() - start;
        let mut back = [0; 5];
        let back = listpack_back(len, &mut back);
        (source.take(back.len())? == back).then_some(())?;
    }
    let is_whole = total as usize == bytes.len() && counts(count, items.len());
    is_whole.then_some(items)
}

fn counts(count: u16, found: usize) -> bool {
    count == COUNT_UNKNOWN || usize::from(count) == found
}

fn listpack_item<'a>(source: &mut Source<'a>) -> Option<Item<'a>> {
    let first = source.u8()?;
    let low = |source: &mut Source<'a>| source.u8().map(usize::from);
    let bytes = |source: &mut Source<'a>, len: usize| source.take(len).map(Item::Bytes);
    match first {
        0..0x80 => Some(Item::Int(first.into())),
        0x80..0xc0 => bytes(source, usize::from(first & 0x3f)),
        0xc0..0xe0 => {
            let value = i64::from(first & 0x1f) << 8 | i64::from(source.u8()?);
            // 13 bits, signed.
            Some(Item::Int(value << 51 >> 51))
        }
        0xe0..0xf0 => {
            let len = usize::from(first & 0x0f) << 8 | low(source)?;
            bytes(source, len)
        }
        0xf0 => {
            let len = usize::try_from(source.u32()?).ok()?;
            bytes(source, len)
        }
        0xf1..=0xf4 => integer(source, [2, 3, 4, 8][usize::from(first - 0xf1)]),
        _ => None,
    }
}

/// How the length of an element is told behind it, to be read backwards: the most significant
/// seven bits first, all but the first byte marked.
fn listpack_back(len: usize, out: &mut [u8; 5]) -> &[u8] {
    let count = match len {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    };
    for (at, byte) in out[..count].iter_mut().enumerate() {
        let bits = (len >> (7 * (count - 1 - at))) as u8 & 0x7f;
        *byte = if at == 0 { bits } else { bits | 0x80 };
    }
    &out[..count]
}

/// A signed integer of 1, 2, 3, 4 or 8 bytes.
fn integer<'a>(source: &mut Source<'_>, width: usize) -> Option<Item<'a>> {
    let mut wide = [0; 8];
    let bytes = source.take(width)?;
    wide[8 - width..].copy_from_slice(bytes);
    Some(Item::Int(i64::from_le_bytes(wide) >> (64 - 8 * width)))
}

/// The elements of a ziplist.
pub fn ziplist(bytes: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut source = Source::new(bytes);
    let (total, tail, count) = (source.u32()?, source.u32()?, source.u16()?);
    let (mut items, mut before, mut last) = (Vec::new(), 0, source.offset());
    while source.rest() != [END] {
        last = source.offset();
        let told = match source.u8()? {
            short @ ..0xfe => usize::from(short),
            0xfe => source.u32()? as usize,
            END => return None,
        };
        items.push(ziplist_item(&mut source)?);
        (told == before).then_some(())?;
        before = source.offset() - last;
    }
    let is_whole = total as usize == bytes.len() && tail as usize == last;
    (is_whole && counts(count, items.len())).then_some(items)
}

fn ziplist_item<'a>(source: &mut Source<'a>) -> Option<Item<'a>> {
    let first = source.u8()?;
    let len = match first {
        0..0x40 => usize::from(first),
        0x40..0x80 => usize::from(first & 0x3f) << 8 | usize::from(source.u8()?),
        0x80 => source.array().map(u32::from_be_bytes)? as usize,
        0xc0 => return integer(source, 2),
        0xd0 => return integer(source, 4),
        0xe0 => return integer(source, 8),
        0xf0 => return integer(source, 3),
        0xfe => return integer(source, 1),
        0xf1..=0xfd => return Some(Item::Int(i64::from(first) - 0xf1)),
        _ => return None,
    };
    source.take(len).map(Item::Bytes)
}

/// The integers of an intset, ascending.
pub fn intset(bytes: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut source = Source::new(bytes);
    let (width, count) = (source.u32()? as usize, source.u32()? as usize);
    let is_whole = matches!(width, 2 | 4 | 8) && width.checked_mul(count) == Some(bytes.len() - 8);
    is_whole.then_some(())?;
    let mut items = Vec::with_capacity(count);
    while !source.is_empty() {
        items.push(integer(&mut source, width)?);
    }
    let value = |item: &Item<'_>| if let Item::Int(value) = item { *value } else { 0 };
    items.is_sorted_by(|one, two| value(one) < value(two)).then_some(items)
}

/// Fields and values of a zipmap, in turn.
pub fn zipmap(bytes: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut source = Source::new(bytes);
    let count = source.u8()?;
    let mut items = Vec::new();
    while source.rest() != [END] {
        let len = zipmap_len(&mut source)?;
        items.push(Item::Bytes(source.take(len)?));
        let (len, spare) = (zipmap_len(&mut source)?, source.u8()?);
        items.push(Item::Bytes(source.take(len)?));
        source.take(usize::from(spare))?;
    }
    let pairs = items.len() / 2;
    (count >= 0xfe || usize::from(count) == pairs).then_some(items)
}

fn zipmap_len(source: &mut Source<'_>) -> Option<usize> {
    match source.u8()? {
        short @ ..0xfe => Some(short.into()),
        0xfe => source.u32().map(|len| len as usize),
        END => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listpacks_of_redis_are_understood() {
        // RPUSH of "1", "-5", "hello" and 70000, as Redis 7.0 packs them.
        let mut bytes = vec![0; 6];
        bytes.extend_from_slice(b"\x01\x01\xdf\xfb\x02\x85hello\x06\xf2\x70\x11\x01\x04\xff");
        bytes[0] = bytes.len() as u8;
        bytes[4] = 4;
        let items = listpack(&bytes).expect("whole");
        let wanted = [Item::Int(1), Item::Int(-5), Item::Bytes(b"hello"), Item::Int(70_000)];
        assert_eq!(items, wanted);
        for at in 0..bytes.len() {
            assert_eq!(listpack(&bytes[..at]), None);
        }
        bytes[4] = 3;
        assert_eq!(listpack(&bytes), None, "another count");
    }

    #[test]
    fn the_length_behind_a_listpack_element_has_one_spelling() {
        let mut out = [0; 5];
        assert_eq!(listpack_back(127, &mut out), [127]);
        assert_eq!(listpack_back(128, &mut out), [1, 0x80]);
        assert_eq!(listpack_back(16_384, &mut out), [1, 0x80, 0x80]);
        assert_eq!(listpack_back(1 << 28, &mut out), [1, 0x80, 0x80, 0x80, 0x80]);
    }

    #[test]
    fn ziplists_zipmaps_and_intsets_are_understood() {
        let zip = b"\x14\0\0\0\x11\0\0\0\x03\0\0\x02hi\x04\xfe\x80\x03\xf3\xff";
        let items = [Item::Bytes(b"hi"), Item::Int(-128), Item::Int(2)];
        assert_eq!(ziplist(zip).as_deref(), Some(&items[..]));
        let map = b"\x01\x03foo\x02\x01vv.\xff";
        assert_eq!(zipmap(map), Some(vec![Item::Bytes(b"foo"), Item::Bytes(b"vv")]));
        let ints = b"\x02\0\0\0\x02\0\0\0\xff\xff\x05\0";
        assert_eq!(intset(ints), Some(vec![Item::Int(-1), Item::Int(5)]));
        assert_eq!(intset(b"\x02\0\0\0\x02\0\0\0\x05\0\x05\0"), None, "not ascending");
        assert_eq!(intset(b"\x02\0\0\0\xff\xff\xff\xff\x05\0"), None);
    }
}
