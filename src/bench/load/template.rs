//! One request as bytes, with holes: fields of fixed width that get another number, or another
//! hash tag, each time it is sent.

use crate::limits::HASH_SLOTS;
use crate::util::crc16::hash_slot;
use std::ops::Range;

/// Digits of a number in a request.
pub const NUMBER_DIGITS: usize = 12;
/// Characters of a hash tag, without its braces.
pub const TAG_CHARS: usize = 4;

/// A hash tag.
pub type Tag = [u8; TAG_CHARS];

const NUMBER: &[u8] = b"__rand_int__";
const TAG: &[u8] = b"{tag}";
const TAG_PART: &[u8] = b"{tag}:";
const DATA: &[u8] = b"__data__";

/// A field that changes from one request to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where it begins.
    pub at: usize,
    /// What goes there.
    pub kind: HoleKind,
}

/// What goes into a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoleKind {
    /// Twelve digits.
    Number,
    /// Four characters that choose a slot.
    Tag,
}

/// A request with its holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The request; holes have zeros.
    pub bytes: Vec<u8>,
    /// Its holes, in order.
    pub holes: Vec<Hole>,
    /// Where the value of `-d` bytes lies, if there is just one.
    pub data: Option<Range<usize>>,
}

impl Template {
    /// The request made of `args`. With `tags` (cluster mode) `{tag}` is a hole; otherwise
    /// `{tag}:` is left out.
    pub fn new(args: &[Vec<u8>], data: &[u8], tags: bool) -> Template {
        let mut template = Template { bytes: Vec::new(), holes: Vec::new(), data: None };
        template.bytes.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
        let mut data_count = 0;
        for arg in args {
            let arg = if tags { arg.clone() } else { without(arg, TAG_PART) };
            let is_data = arg == DATA;
            let (text, holes) = if is_data { (data.to_vec(), vec![]) } else { expand(&arg, tags) };
            template.bytes.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
            let start = template.bytes.len();
            template.holes.extend(holes.iter().map(|hole| Hole { at: start + hole.at, ..*hole }));
            template.bytes.extend_from_slice(&text);
            template.bytes.extend_from_slice(b"\r\n");
            if is_data {
                data_count += 1;
                template.data = (data_count == 1).then(|| start..start + text.len());
            }
        }
        template
    }

    /// `args` on one line, as people type it.
    pub fn inline(args: &[Vec<u8>]) -> Template {
        let mut bytes = args.join(&b' ');
        bytes.extend_from_slice(b"\r\n");
        Template { bytes, holes: Vec::new(), data: None }
    }
}

/// `arg` with its marks replaced by zeros, and where they were.
fn expand(arg: &[u8], tags: bool) -> (Vec<u8>, Vec<Hole>) {
    let (mut text, mut holes) = (Vec::new(), Vec::new());
    let mut rest = arg;
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix(NUMBER) {
            holes.push(Hole { at: text.len(), kind: HoleKind::Number });
            text.extend_from_slice(&[b'0'; NUMBER_DIGITS]);
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix(TAG).filter(|_| tags) {
            holes.push(Hole { at: text.len() + 1, kind: HoleKind::Tag });
            text.extend_from_slice(b"{0000}");
            rest = behind;
        } else {
            text.push(rest[0]);
            rest = &rest[1..];
        }
    }
    (text, holes)
}

fn without(arg: &[u8], part: &[u8]) -> Vec<u8> {
    match arg.windows(part.len()).position(|window| window == part) {
        Some(at) => [&arg[..at], &arg[at + part.len()..]].concat(),
        None if arg.ends_with(b":{tag}") => arg[..arg.len() - b":{tag}".len()].to_vec(),
        None => arg.to_vec(),
    }
}

/// Writes `number` as twelve digits; of a longer one the last twelve.
#[inline]
pub fn put_number(place: &mut [u8; NUMBER_DIGITS], number: u64) {
    const EIGHT: u64 = 100_000_000;
    place[..4].copy_from_slice(&eight_digits(number / EIGHT % 10_000)[4..]);
    place[4..].copy_from_slice(&eight_digits(number % EIGHT));
}

/// The digits of a number below 10^8: halves it into fields of four, two and one digit, all fields
/// at once.
#[inline]
fn eight_digits(number: u64) -> [u8; 8] {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    // A hundredth and a tenth as multiplications, exact for the fields' ranges.
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000F_000F_000F_000F;
    let ones = tens | ((twos - tens * 10) << 8);
    (ones + 0x3030_3030_3030_3030).to_le_bytes()
}

/// A tag for each hash slot: the first found that leads there.
pub fn tag_table() -> Vec<Tag> {
    let mut table = vec![None; HASH_SLOTS];
    let mut missing = HASH_SLOTS;
    const LETTERS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
    for number in 0..26usize.pow(TAG_CHARS as u32) {
        let tag: Tag = std::array::from_fn(|at| LETTERS[number / 26usize.pow(at as u32) % 26]);
        let slot = &mut table[usize::from(hash_slot(&tag))];
        missing -= usize::from(slot.is_none());
        slot.get_or_insert(tag);
        if missing == 0 {
            break;
        }
    }
    table.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn marks_become_holes() {
        let words = args(&["SET", "key:{tag}:__rand_int__", "__data__"]);
        let plain = Template::new(&words, b"xyz", false);
        let text = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$3\r\nxyz\r\n";
        assert_eq!(String::from_utf8_lossy(&plain.bytes), text);
        let at = text.find("000").expect("the number");
        assert_eq!(plain.holes, [Hole { at, kind: HoleKind::Number }]);
        let data = text.find("xyz").expect("the data");
        assert_eq!(plain.data, Some(data..data + 3));

        let tagged = Template::new(&words, b"", true);
        let text = "*3\r\n$3\r\nSET\r\n$23\r\nkey:{0000}:000000000000\r\n$0\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&tagged.bytes), text);
        assert_eq!(tagged.holes.len(), 2);
        assert_eq!(tagged.bytes[tagged.holes[0].at - 1], b'{');

        let list = Template::new(&args(&["LPOP", "mylist:{tag}"]), b"", false);
        assert!(list.bytes.ends_with(b"$6\r\nmylist\r\n"));
        assert_eq!(Template::inline(&args(&["PING", "x"])).bytes, b"PING x\r\n");
    }

    #[test]
    fn numbers_have_twelve_digits() {
        let mut place = [0; NUMBER_DIGITS];
        for (number, text) in [
            (0, b"000000000000"),
            (7, b"000000000007"),
            (1_234_567_890, b"001234567890"),
            (999_999_999_999, b"999999999999"),
            (1_000_000_000_001, b"000000000001"),
        ] {
            put_number(&mut place, number);
            assert_eq!(&place, text);
        }
    }

    #[test]
    fn every_slot_has_a_tag() {
        let table = tag_table();
        assert!((0..HASH_SLOTS).all(|slot| usize::from(hash_slot(&table[slot])) == slot));
    }
}
