//! Records: requests made deterministic, as they lie in the log.
//!
//! ```text
//!   0             8        12     13          14      16         24     32
//!   | lsn + mark  | length | kind | semantics | shard | clock_ms | seed | body
//! ```
//!
//! A record begins at a multiple of 8 and is padded with zeros to one. `length` is its bytes
//! without the padding, `lsn` its position with the mark 1 added. It has no checksum of its own:
//! records are read out of commits only, whose checksum covers them ([`super::commit`]).
//!
//! In format 1 a record has a checksum, and its body begins at byte 40:
//!
//! ```text
//!   0             8        12    16         24     32     33          34      36    40
//!   | lsn + mark  | length | crc | clock_ms | seed | kind | semantics | shard | 0   | body
//! ```
//!
//! Bodies, by kind:
//!
//! ```text
//!   1 commands   one or more of: db u8, arguments varint, then each: length varint, bytes
//!   2 fragment   number u64 of the body it belongs to, bytes
//!   3 joined     number u64 of a body sent in fragments; then a bit for each command that
//!                applies; the body is that of kind 1
//!   4 dropped    number u64 of a body that nothing will use
//!   5 groups     flags u8: 1 first, 2 last part; a part of a record of the groups of a node
//! ```

use super::commit::Format;
use crate::limits::LOG_RECORD_MAX;

/// Bytes in front of a body.
pub const RECORD_HEADER: usize = 32;
/// As many in format 1.
const RECORD_HEADER_1: usize = 40;
/// The shard of a record that touches several.
pub const SEVERAL_SHARDS: u16 = u16::MAX;
/// The meaning of requests, raised when a command comes to do something else than before.
pub const SEMANTICS: u8 = 1;
/// Bytes of a body that still fit into one record.
pub const BODY_MAX: usize = LOG_RECORD_MAX - RECORD_HEADER;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// Requests to apply.
    Commands = 1,
    /// A part of a body too long for one record.
    Fragment = 2,
    /// Requests to apply, whose body came in fragments before.
    Joined = 3,
    /// Fragments that nothing will use.
    Dropped = 4,
    /// A part of a record of the groups of a cluster's node.
    Groups = 5,
}

impl RecordKind {
    fn of(number: u8) -> Option<RecordKind> {
        Some(match number {
            1 => RecordKind::Commands,
            2 => RecordKind::Fragment,
            3 => RecordKind::Joined,
            4 => RecordKind::Dropped,
            5 => RecordKind::Groups,
            _ => return None,
        })
    }
}

/// A record in the making; reused from one to the next.
#[derive(Debug, Default)]
pub struct RecordBuf {
    body: Vec<u8>,
}

/// What a record says beside its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMeta {
    /// What it is.
    pub kind: RecordKind,
    /// The shard that it touches, or [`SEVERAL_SHARDS`].
    pub shard: u16,
    /// The clock of the request, ms since 1970.
    pub clock_ms: u64,
    /// The seed of the request.
    pub seed: u64,
}

impl RecordBuf {
    /// An empty body to be filled.
    pub fn body(&mut self) -> &mut Vec<u8> {
        self.body.clear();
        &mut self.body
    }

    /// The body.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.body
    }
}

impl RecordMeta {
    /// What stands in front of a body of `len` bytes, but for the LSN.
    #[inline]
    pub(super) fn head(&self, len: usize) -> [u64; RECORD_HEADER / 8] {
        debug_assert!(len <= BODY_MAX);
        let what =
            u64::from(self.kind as u8) | u64::from(SEMANTICS) << 8 | u64::from(self.shard) << 16;
        [0, (RECORD_HEADER + len) as u64 | what << 32, self.clock_ms, self.seed]
    }
}

/// A record read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its position.
    pub lsn: u64,
    /// What it says beside its body.
    pub meta: RecordMeta,
    /// The meaning that its requests have.
    pub semantics: u8,
    /// Its body.
    pub body: &'a [u8],
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRecord;

impl<'a> Record<'a> {
    /// The record at the front of `bytes`, which lie at position `lsn` of a commit whose checksum
    /// was right, and its padded length.
    pub(super) fn read(
        bytes: &'a [u8],
        lsn: u64,
        format: Format,
    ) -> Result<(Record<'a>, usize), NoRecord> {
        let (header, _) = bytes.split_first_chunk::<RECORD_HEADER>().ok_or(NoRecord)?;
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| header[at + i]));
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let len = u32_at(8) as usize;
        // What the record is, and where its body begins.
        let (what, begin) = match format {
            Format::One => (bytes.get(32..36), RECORD_HEADER_1),
            Format::Two => (bytes.get(12..16), RECORD_HEADER),
        };
        let [kind, semantics, shard @ ..] = what.ok_or(NoRecord)? else { return Err(NoRecord) };
        let body = bytes.get(begin..len).filter(|_| u64_at(0) == lsn | 1).ok_or(NoRecord)?;
        let meta = RecordMeta {
            kind: RecordKind::of(*kind).ok_or(NoRecord)?,
            shard: shard.try_into().map(u16::from_le_bytes).map_err(|_| NoRecord)?,
            clock_ms: u64_at(16),
            seed: u64_at(24),
        };
        let record = Record { lsn, meta, semantics: *semantics, body };
        Ok((record, len.next_multiple_of(8)))
    }
}

/// Appends a request to a body.
#[inline]
pub fn put_command<'a>(body: &mut Vec<u8>, db: u8, args: impl ExactSizeIterator<Item = &'a [u8]>) {
    body.push(db);
    put_varint(body, args.len() as u64);
    for arg in args {
        put_varint(body, arg.len() as u64);
        body.extend_from_slice(arg);
    }
}

/// Takes the first request off a body: its database and, in `args`, its arguments.
pub fn take_command<'a>(body: &mut &'a [u8], args: &mut Vec<&'a [u8]>) -> Result<u8, NoRecord> {
    args.clear();
    take_command_with(body, |arg| args.push(arg))
}

/// As [`take_command`]; each argument goes to `put`.
pub fn take_command_with<'a>(
    body: &mut &'a [u8],
    mut put: impl FnMut(&'a [u8]),
) -> Result<u8, NoRecord> {
    let (&db, mut rest) = body.split_first().ok_or(NoRecord)?;
    let count = take_varint(&mut rest)?;
    for _ in 0..count {
        let len = usize::try_from(take_varint(&mut rest)?).map_err(|_| NoRecord)?;
        let (arg, behind) = rest.split_at_checked(len).ok_or(NoRecord)?;
        put(arg);
        rest = behind;
    }
    *body = rest;
    Ok(db)
}

/// Appends seven bits a byte, the lowest first.
#[inline]
fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, NoRecord> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(NoRecord)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(NoRecord)
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: RecordMeta =
        RecordMeta { kind: RecordKind::Commands, shard: 511, clock_ms: 5, seed: 6 };

    fn bytes_of(body: &[u8], lsn: u64) -> Vec<u8> {
        let mut buf = RecordBuf::default();
        buf.body().extend_from_slice(body);
        let mut head = META.head(body.len());
        head[0] = lsn | 1;
        let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend_from_slice(buf.bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn a_record_is_read_back_only_where_it_was_put() {
        for len in 0..40 {
            let body: Vec<u8> = (0..len).collect();
            let bytes = bytes_of(&body, 4160);
            let (record, total) = Record::read(&bytes, 4160, Format::Two).expect("a record");
            assert_eq!((record.body, record.meta, total), (&*body, META, bytes.len()));
            assert_eq!((record.lsn, record.semantics), (4160, SEMANTICS));
            assert_eq!(Record::read(&bytes, 4168, Format::Two), Err(NoRecord));
        }
    }

    #[test]
    fn a_record_of_format_1_has_its_body_further_behind() {
        let mut bytes = (4160u64 | 1).to_le_bytes().to_vec();
        bytes.extend([44, 0, 0, 0, 0xC, 0xC, 0xC, 0xC]);
        bytes.extend([5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([1, SEMANTICS, 0xFF, 1, 0, 0, 0, 0]);
        bytes.extend(*b"body\0\0\0\0");
        let (record, total) = Record::read(&bytes, 4160, Format::One).expect("a record");
        assert_eq!((record.body, record.meta, total), (&b"body"[..], META, 48));
        assert_eq!(record.semantics, SEMANTICS);
        for len in 0..44 {
            assert_eq!(Record::read(&bytes[..len], 4160, Format::One), Err(NoRecord), "{len}");
        }
    }

    #[test]
    fn a_record_that_is_cut_or_is_nothing_known_is_none() {
        let bytes = bytes_of(b"some request", 64);
        for len in 0..RECORD_HEADER + 12 {
            assert_eq!(Record::read(&bytes[..len], 64, Format::Two), Err(NoRecord), "{len} bytes");
        }
        for kind in (6..=u8::MAX).chain([0]) {
            let mut other = bytes.clone();
            other[12] = kind;
            assert_eq!(Record::read(&other, 64, Format::Two), Err(NoRecord), "kind {kind}");
        }
    }

    #[test]
    fn commands_come_out_as_they_went_in() {
        let mut body = Vec::new();
        let long = vec![b'x'; 300];
        let requests: [&[&[u8]]; 3] = [&[b"SET", b"k", &long], &[b"DEL", b""], &[b"FLUSHALL"]];
        for (db, args) in requests.iter().enumerate() {
            put_command(&mut body, db as u8, args.iter().copied());
        }
        let (mut rest, mut args) = (&body[..], Vec::new());
        for (db, want) in requests.iter().enumerate() {
            assert_eq!(take_command(&mut rest, &mut args), Ok(db as u8));
            assert_eq!(args, *want);
        }
        assert!(rest.is_empty());
        for len in 0..body.len() - 9 {
            let mut cut = &body[..len];
            while take_command(&mut cut, &mut args).is_ok() {}
        }
    }
}
