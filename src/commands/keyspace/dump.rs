//! DUMP and RESTORE, for strings.
//!
//! ```text
//!   kind (1)   | value                          | version (2) | crc64 (8)
//!   0 = string   length and bytes, an integer,    10            over all before it
//!                or compressed bytes
//!
//!   length and special forms, by the upper bits of the first byte:
//!   00llllll | 01llllll llllllll | 0x80 and 4 bytes | 0x81 and 8 bytes      (big endian)
//!   0xc0, 0xc1, 0xc2: an integer of 1, 2, 4 bytes (little endian)
//!   0xc3: compressed length, length, LZF data
//! ```
//!
//! This is the format of Redis' dump files, so that values can be carried to and from Redis.
//! Deliberately absent: the formats of collections, which are those of Redis' own structures.

use super::super::numbers::integer;
use super::super::strings::check_len;
use super::super::table::Outcome;
use crate::config::notify;
use crate::engine::{CmdError, Read, Txn};
use crate::resp::{Args, Reply};
use crate::store::{Kind, Value};
use crate::util::crc64::crc64;
use crate::util::int::parse_i64;
use crate::util::lzf;
use std::borrow::Cow;

/// The version of the format that Redis 7.0 writes; a payload of a later one is refused.
const VERSION: u16 = 10;
/// Bytes of version and checksum.
const FOOTER_LEN: usize = 10;
/// The kind that stands for a string, and the greatest that Redis 7.0 knows.
const KIND_STRING: u8 = 0;
const KIND_MAX: u8 = 20;
/// Shorter strings are not tried to be compressed.
const COMPRESS_ABOVE: usize = 20;
/// Bytes that compression has to save.
const COMPRESS_GAIN: usize = 4;

/// Special forms of a string.
const INT8: u8 = 0xc0;
const INT16: u8 = 0xc1;
const INT32: u8 = 0xc2;
const LZF: u8 = 0xc3;

/// DUMP key
pub fn dump(read: &Read<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match read.get(args.get(1)) {
        None => reply.nil(),
        Some(entry) if entry.kind() == Kind::String => reply.bulk(&encode(entry.value())),
        Some(entry) => {
            let kind = entry.kind().name();
            return Err(CmdError::owned(format!(
                "ERR DUMP supports strings only, and this key holds a {kind}"
            )));
        }
    }
    Ok(())
}

/// Options of RESTORE. How long or how often a value was used is checked and then forgotten.
#[derive(Default)]
struct Options {
    replace: bool,
    is_absolute: bool,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options, CmdError> {
        let mut options = Options::default();
        let (mut has_idletime, mut has_freq) = (false, false);
        let mut at = 4;
        while at < args.len() {
            let word = args.get(at);
            let value = args.try_get(at + 1);
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            match value {
                _ if is(b"replace") => options.replace = true,
                _ if is(b"absttl") => options.is_absolute = true,
                Some(value) if is(b"idletime") && !has_freq => {
                    if integer(value)? < 0 {
                        return Err(CmdError::text("ERR Invalid IDLETIME value, must be >= 0"));
                    }
                    has_idletime = true;
                    at += 1;
                }
                Some(value) if is(b"freq") && !has_idletime => {
                    if !(0..=255).contains(&integer(value)?) {
                        return Err(CmdError::text(
                            "ERR Invalid FREQ value, must be >= 0 and <= 255",
                        ));
                    }
                    has_freq = true;
                    at += 1;
                }
                _ => return Err(CmdError::Syntax),
            }
            at += 1;
        }
        Ok(options)
    }
}

/// RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds | FREQ frequency]
pub fn restore(txn: &mut Txn<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = Options::parse(args)?;
    let (key, now_ms) = (txn.key(args.get(1)), txn.now_ms());
    if !options.replace && txn.exists(&key) {
        return Err(CmdError::text("BUSYKEY Target key name already exists."));
    }
    let ttl_ms = integer(args.get(2))?;
    if ttl_ms < 0 {
        return Err(CmdError::text("ERR Invalid TTL value, must be >= 0"));
    }
    let base_ms = if options.is_absolute { 0 } else { now_ms as i64 };
    // As in Redis, a sum that does not fit is a moment long past.
    let deadline = (ttl_ms > 0).then(|| ttl_ms.checked_add(base_ms).unwrap_or(0) as u64);
    let string = decode(args.get(3), |len| check_len(txn.config(), len).is_ok())?;
    if deadline.is_some_and(|deadline| deadline <= now_ms) {
        if txn.remove(&key) {
            txn.notify(notify::GENERIC, "del", key.bytes);
        }
    } else {
        txn.put(&key, Value::Str(&string), deadline);
        txn.notify(notify::GENERIC, "restore", key.bytes);
    }
    reply.ok();
    Ok(())
}

/// The payload of a string.
fn encode(string: &[u8]) -> Vec<u8> {
    let mut payload = vec![KIND_STRING];
    push_string(string, &mut payload);
    payload.extend_from_slice(&VERSION.to_le_bytes());
    let checksum = crc64(0, &payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

fn push_string(string: &[u8], out: &mut Vec<u8>) {
    if let Some(integer) = parse_i64(string).and_then(|value| i32::try_from(value).ok()) {
        return push_integer(integer, out);
    }
    if string.len() > COMPRESS_ABOVE
        && let Some(compressed) = lzf::compress(string)
        && compressed.len() + COMPRESS_GAIN <= string.len()
    {
        out.push(LZF);
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
        out.extend_from_slice(&[INT8, byte as u8]);
    } else if let Ok(half) = i16::try_from(value) {
        out.push(INT16);
        out.extend_from_slice(&half.to_le_bytes());
    } else {
        out.push(INT32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn push_len(len: u64, out: &mut Vec<u8>) {
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

/// The string of a payload; `fits` says which lengths are allowed.
fn decode(payload: &[u8], fits: impl Fn(u64) -> bool) -> Result<Cow<'_, [u8]>, CmdError> {
    const BAD_FORMAT: CmdError = CmdError::text("ERR Bad data format");
    let body = verified(payload)
        .ok_or(CmdError::text("ERR DUMP payload version or checksum are wrong"))?;
    let (&kind, mut rest) = body.split_first().ok_or(BAD_FORMAT)?;
    if kind != KIND_STRING {
        let is_known = kind <= KIND_MAX;
        let other = CmdError::text("ERR RESTORE supports strings only, and this is a collection");
        return Err(if is_known { other } else { BAD_FORMAT });
    }
    let string = pull_string(&mut rest, &fits).ok_or(BAD_FORMAT)?;
    if fits(string.len() as u64) { Ok(string) } else { Err(CmdError::StringTooLong) }
}

/// What is in front of a footer of a known version with the right checksum.
fn verified(payload: &[u8]) -> Option<&[u8]> {
    let (body, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER_LEN)?)?;
    let (version, checksum) = footer.split_first_chunk::<2>()?;
    let is_right = u16::from_le_bytes(*version) <= VERSION
        && crc64(0, &payload[..body.len() + 2]).to_le_bytes() == checksum;
    is_right.then_some(body)
}

fn pull_string<'p>(rest: &mut &'p [u8], fits: &impl Fn(u64) -> bool) -> Option<Cow<'p, [u8]>> {
    let spelled = |value: i32| Some(Cow::Owned(value.to_string().into_bytes()));
    match *rest.first()? {
        INT8 => spelled(i8::from_le_bytes(pull_form(rest)?).into()),
        INT16 => spelled(i16::from_le_bytes(pull_form(rest)?).into()),
        INT32 => spelled(i32::from_le_bytes(pull_form(rest)?)),
        LZF => {
            *rest = &rest[1..];
            let (compressed_len, len) = (pull_len(rest)?, pull_len(rest)?);
            let compressed = pull(rest, compressed_len)?;
            // A few bytes can stand for very many: the length is looked at first.
            let expanded = fits(len).then(|| lzf::decompress(compressed, len as usize))?;
            expanded.map(Cow::Owned)
        }
        _ => {
            let len = pull_len(rest)?;
            pull(rest, len).map(Cow::Borrowed)
        }
    }
}

/// The bytes of a special form, its first byte left out.
fn pull_form<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (form, tail) = rest[1..].split_first_chunk::<N>()?;
    *rest = tail;
    Some(*form)
}

fn pull_len(rest: &mut &[u8]) -> Option<u64> {
    let first = *rest.first()?;
    match first {
        0..0x40 => pull(rest, 1).map(|_| first.into()),
        0x40..0x80 => {
            let bytes = pull(rest, 2)?;
            Some(u64::from(first & 0x3f) << 8 | u64::from(bytes[1]))
        }
        0x80 => pull_form(rest).map(|len| u32::from_be_bytes(len).into()),
        0x81 => pull_form(rest).map(u64::from_be_bytes),
        _ => None,
    }
}

fn pull<'p>(rest: &mut &'p [u8], len: u64) -> Option<&'p [u8]> {
    let (bytes, tail) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = tail;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    fn restored(payload: &[u8]) -> Result<Vec<u8>, CmdError> {
        decode(payload, |len| len <= 1 << 20).map(Cow::into_owned)
    }

    /// `body` with a footer that fits.
    fn sealed(body: &[u8]) -> Vec<u8> {
        let mut payload = body.to_vec();
        payload.extend_from_slice(&VERSION.to_le_bytes());
        payload.extend_from_slice(&crc64(0, &payload).to_le_bytes());
        payload
    }

    #[test]
    fn every_form_comes_back() {
        let zeros = vec![0; 100_000];
        let long = vec![b'x'; 20_000];
        let mut noise = vec![0; 70_000];
        let mut rng = SplitMix64::new(5);
        noise.iter_mut().for_each(|byte| *byte = rng.next_u64() as u8);
        for value in [
            &b""[..],
            b"0",
            b"-128",
            b"127",
            b"128",
            b"-32769",
            b"2147483647",
            b"2147483648",
            b"-2147483648",
            b"007",
            b"hello",
            &noise[..63],
            &noise[..64],
            &noise[..16383],
            &noise[..16384],
            &noise,
            &zeros,
            &long,
        ] {
            assert_eq!(restored(&encode(value)).as_deref(), Ok(value));
        }
        assert!(encode(&zeros).len() < 2000);
    }

    #[test]
    fn payloads_are_those_of_redis() {
        assert_eq!(encode(b"hello world"), b"\x00\x0bhello world\n\x00\x0b\xfcI\xb9\xa6\xc7\xa04");
        assert_eq!(encode(b"12345"), b"\x00\xc190\n\x00\x9d\x94\xea'\x93\xfc\x08\xb9");
        assert_eq!(encode(b"-7"), b"\x00\xc0\xf9\n\x00^&\xd10\xd7\xa2B\xab");
    }

    #[test]
    fn damage_is_refused_wherever_it_is() {
        let payload = encode(b"some value that is long enough");
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 0x10;
            assert!(restored(&damaged).is_err(), "byte {at}");
            assert!(restored(&payload[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let bad = Err(CmdError::text("ERR Bad data format"));
        for body in [
            &b""[..],
            b"\x00",
            b"\x00\x05abc",
            b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x00\x80\xff\xff\xff\xffabc",
            b"\x00\x82abc",
            b"\x00\xc0",
            b"\x00\xc2abc",
            b"\x00\xc4abc",
            b"\x00\xc3\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00",
            b"\x00\xc3\x03\x05\xe0\x00\x00",
            b"\xff",
        ] {
            assert_eq!(restored(&sealed(body)), bad, "{body:?}");
        }
        assert!(restored(&sealed(b"\x01\x01a")).is_err());
    }
}
