//! Records: requests made deterministic, as they lie in the log.
//!
//! ```text
//!   0             8        12    16         24     32      33          34      36    40
//!   | lsn + mark  | length | crc | clock_ms | seed | kind  | semantics | shard | 0   | body
//! ```
//!
//! A record begins at a multiple of 8 and is padded to one. `length` is its bytes without the
//! padding; `crc` the CRC-32C of everything behind byte 32, continued over the rest of the
//! header. `lsn` is the record's position with the mark 1 added.
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

use crate::limits::LOG_RECORD_MAX;

/// Bytes in front of a body.
pub const RECORD_HEADER: usize = 40;
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

/// A record in the making; reused from one to the next.
#[derive(Debug, Default)]
pub struct RecordBuf {
    words: Vec<u64>,
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

    /// The words of the record, complete but for LSN and checksum.
    pub(super) fn words(&mut self, meta: &RecordMeta) -> &mut [u64] {
        let len = RECORD_HEADER + self.body.len();
        self.words.clear();
        self.words.extend([0, len as u64, meta.clock_ms, meta.seed]);
        self.words.push(u64::from_le_bytes([
            meta.kind as u8,
            SEMANTICS,
            meta.shard as u8,
            (meta.shard >> 8) as u8,
            0,
            0,
            0,
            0,
        ]));
        let (words, rest) = self.body.as_chunks::<8>();
        self.words.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.words.push(u64::from_le_bytes(word));
        }
        let tail = crc32c::crc32c(&self.words[4].to_le_bytes());
        let tail = crc32c::crc32c_append(tail, &self.body);
        self.words[1] |= u64::from(tail) << 32;
        &mut self.words
    }

    /// Completes the words of a record that got its place.
    pub(super) fn place(lsn: u64, words: &mut [u64]) {
        let (len, tail) = (words[1] as u32, (words[1] >> 32) as u32);
        let crc = header_crc(tail, lsn, len, words[2], words[3]);
        words[1] = u64::from(len) | u64::from(crc) << 32;
    }
}

fn header_crc(tail: u32, lsn: u64, len: u32, clock_ms: u64, seed: u64) -> u32 {
    let mut header = [0; 28];
    header[..8].copy_from_slice(&lsn.to_le_bytes());
    header[8..12].copy_from_slice(&len.to_le_bytes());
    header[12..20].copy_from_slice(&clock_ms.to_le_bytes());
    header[20..].copy_from_slice(&seed.to_le_bytes());
    crc32c::crc32c_append(tail, &header)
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
    /// The record at the front of `bytes`, which lie at position `lsn`, and its padded length.
    pub fn read(bytes: &'a [u8], lsn: u64) -> Result<(Record<'a>, usize), NoRecord> {
        Record::take(bytes, lsn, true)
    }

    /// As [`Record::read`], of bytes that have passed it before.
    pub(super) fn read_again(bytes: &'a [u8], lsn: u64) -> Option<(Record<'a>, usize)> {
        Record::take(bytes, lsn, false).ok()
    }

    fn take(bytes: &'a [u8], lsn: u64, checked: bool) -> Result<(Record<'a>, usize), NoRecord> {
        let (header, _) = bytes.split_first_chunk::<RECORD_HEADER>().ok_or(NoRecord)?;
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| header[at + i]));
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let (len, clock_ms, seed) = (u32_at(8), u64_at(16), u64_at(24));
        let whole = bytes.get(32..len as usize).ok_or(NoRecord)?;
        let crc = || header_crc(crc32c::crc32c(whole), lsn, len, clock_ms, seed);
        if u64_at(0) != lsn | 1 || checked && crc() != u32_at(12) {
            return Err(NoRecord);
        }
        let kind = match header[32] {
            1 => RecordKind::Commands,
            2 => RecordKind::Fragment,
            3 => RecordKind::Joined,
            4 => RecordKind::Dropped,
            5 => RecordKind::Groups,
            _ => return Err(NoRecord),
        };
        let shard = u16::from_le_bytes([header[34], header[35]]);
        let meta = RecordMeta { kind, shard, clock_ms, seed };
        let body = whole.get(RECORD_HEADER - 32..).ok_or(NoRecord)?;
        let record = Record { lsn, meta, semantics: header[33], body };
        Ok((record, (len as usize).next_multiple_of(8)))
    }
}

/// Appends a request to a body.
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

    fn bytes_of(body: &[u8], lsn: u64) -> Vec<u8> {
        let mut buf = RecordBuf::default();
        buf.body().extend_from_slice(body);
        let meta = RecordMeta { kind: RecordKind::Commands, shard: 511, clock_ms: 5, seed: 6 };
        let words = buf.words(&meta);
        RecordBuf::place(lsn, words);
        words[0] = lsn | 1;
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_record_is_read_back_only_where_it_was_put() {
        for len in 0..40 {
            let body: Vec<u8> = (0..len).collect();
            let bytes = bytes_of(&body, 4160);
            let (record, total) = Record::read(&bytes, 4160).expect("a record");
            assert_eq!((record.body, record.meta.shard, total), (&*body, 511, bytes.len()));
            assert_eq!((record.meta.clock_ms, record.meta.seed), (5, 6));
            assert_eq!(Record::read(&bytes, 4168), Err(NoRecord));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = bytes_of(b"some request", 64);
        let exact = RECORD_HEADER + 12;
        for bit in 0..exact * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::read(&damaged, 64), Err(NoRecord), "bit {bit}");
        }
        for len in 0..exact {
            assert_eq!(Record::read(&bytes[..len], 64), Err(NoRecord), "{len} bytes");
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
