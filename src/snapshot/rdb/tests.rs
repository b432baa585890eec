//! Files come back, and hostile ones do no harm. That Redis agrees is the matter of
//! `tests/rdb.rs`.

use super::*;
use crate::store::objects::{Hash, List, Set, ZSet};
use crate::store::{Object, Store};
use crate::util::crc64::crc64;
use crate::util::rng::SplitMix64;
use std::io::{Cursor, Read};

fn samples() -> Vec<(u8, Vec<u8>, Option<u64>, RdbValue)> {
    let (mut list, mut set) = (List::new(), Set::new());
    let (mut hash, mut zset) = (Hash::new(), ZSet::new());
    for n in 0..300i64 {
        let text = n.wrapping_mul(0x1234_5678_9abc).to_string().into_bytes();
        list.push_back(&text);
        set.insert(&text[..text.len().min(4)]);
        hash.insert(&text, &[b'v'; 40]);
        zset.insert(&text, n as f64 / 3.0);
    }
    zset.insert(b"inf", f64::INFINITY);
    let objects = [Object::List(list), Object::Set(set), Object::Hash(hash), Object::ZSet(zset)];
    let mut samples = vec![
        (0, b"".to_vec(), None, RdbValue::Str(b"".to_vec())),
        (0, b"int".to_vec(), Some(5), RdbValue::Str(b"-32769".to_vec())),
        (
            3,
            b"noise".to_vec(),
            None,
            RdbValue::Str((0..40_000u32).map(|n| ((n * n) >> 7) as u8).collect()),
        ),
        (3, b"zeros".to_vec(), Some(1 << 50), RdbValue::Str(vec![0; 200_000])),
    ];
    for (n, object) in (0..).zip(objects) {
        samples.push((n, format!("object {n}").into_bytes(), None, RdbValue::Object(object)));
    }
    samples
}

fn borrowed(value: &RdbValue) -> RdbValueRef<'_> {
    match value {
        RdbValue::Str(string) => RdbValueRef::Str(string),
        RdbValue::Object(object) => RdbValueRef::Object(object),
    }
}

fn file(compress: bool) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), compress);
    for (db, key, deadline, value) in samples() {
        writer.record(db, &key, deadline, borrowed(&value)).expect("memory");
    }
    let (bytes, count) = writer.finish().expect("memory");
    assert_eq!(bytes.len() as u64, count);
    bytes
}

fn same(one: &RdbValue, other: &RdbValue) -> bool {
    match (one, other) {
        (RdbValue::Str(one), RdbValue::Str(other)) => one == other,
        (RdbValue::Object(Object::List(one)), RdbValue::Object(Object::List(other))) => {
            one.same_content(other)
        }
        (RdbValue::Object(Object::Set(one)), RdbValue::Object(Object::Set(other))) => {
            one.same_content(other)
        }
        (RdbValue::Object(Object::Hash(one)), RdbValue::Object(Object::Hash(other))) => {
            one.iter().eq(other.iter())
        }
        (RdbValue::Object(Object::ZSet(one)), RdbValue::Object(Object::ZSet(other))) => {
            one.iter(0..usize::MAX, false).eq(other.iter(0..usize::MAX, false))
        }
        _ => false,
    }
}

/// A reader that gives a few bytes at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = out.len().min(7);
        self.0.read(&mut out[..len])
    }
}

#[test]
fn files_come_back() {
    for compress in [false, true] {
        let bytes = file(compress);
        let mut found = Vec::new();
        let summary = read(Drops(&bytes), &mut |record| found.push(record)).expect("whole");
        assert_eq!((summary.version, summary.keys, summary.keys_with_deadline), (10, 8, 2));
        assert_eq!(summary.bytes, bytes.len() as u64);
        for (record, (db, key, deadline, value)) in found.iter().zip(samples()) {
            assert_eq!((record.db, &record.key, record.deadline), (db, &key, deadline));
            assert!(same(&record.value, &value), "{key:?}");
        }
    }
    assert!(file(true).len() + 190_000 < file(false).len());
}

/// `bytes` with a checksum that fits.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 8;
    let checksum = crc64(0, &bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn damage_is_refused_and_loads_nothing() {
    let bytes = file(true);
    let mut rng = SplitMix64::new(7);
    for round in 0..4000 {
        let mut damaged = bytes.clone();
        let at = rng.below(bytes.len() as u64) as usize;
        damaged[at] ^= 1 << rng.below(8);
        if round % 2 == 0 {
            assert!(check(&damaged[..]).is_err(), "byte {at}");
        } else {
            // Behind the checksum: anything but a panic, and all or nothing.
            let store = Store::new(1);
            let outcome = import(&mut Cursor::new(sealed(damaged)), &store);
            let loaded: u64 = (0..16).map(|db| store.len(db)).sum();
            match outcome {
                Ok(summary) => assert!(loaded <= summary.keys),
                Err(_) => assert_eq!(loaded, 0, "byte {at}"),
            }
        }
        let cut = rng.below(bytes.len() as u64) as usize;
        assert!(check(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(check(&longer[..]).is_err());
}

/// A file of version `version` with these records, without a checksum.
fn crafted(version: u32, records: &[u8]) -> Vec<u8> {
    let end = [0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    let end = if version < 5 { &end[..1] } else { &end };
    [format!("REDIS{version:04}").as_bytes(), records, end].concat()
}

fn only(records: &[u8], version: u32) -> RdbValue {
    let mut found = Vec::new();
    read(&crafted(version, records)[..], &mut |record| found.push(record)).expect("a valid file");
    assert_eq!(found.len(), 1);
    found.remove(0).value
}

#[test]
fn encodings_of_older_versions_are_read() {
    let list = |elements: &[&[u8]]| {
        let mut list = List::new();
        elements.iter().for_each(|element| list.push_back(element));
        RdbValue::Object(Object::List(list))
    };
    let zip = b"\x14\0\0\0\x11\0\0\0\x03\0\0\x02hi\x04\xfe\x80\x03\xf3\xff";
    let hi: [&[u8]; 3] = [b"hi", b"-128", b"2"];
    assert!(same(&only(&[b"\x0a\x01k\x14", &zip[..]].concat(), 4), &list(&hi)));
    let node = [b"\x0e\x01k\x02\x14", &zip[..], b"\x14", zip].concat();
    assert!(same(&only(&node, 7), &list(&[hi, hi].concat())));
    assert!(same(&only(b"\x01\x01k\x02\x01a\xc0\x05", 1), &list(&[b"a", b"5"])));
    let RdbValue::Object(Object::Hash(hash)) = only(b"\x09\x01k\x0b\x01\x03foo\x02\x01vv.\xff", 2)
    else {
        panic!("a zipmap is a hash")
    };
    assert_eq!(hash.get(b"foo"), Some(&b"vv"[..]));
    let RdbValue::Object(Object::ZSet(zset)) = only(b"\x03\x01k\x02\x01a\x041.25\x01b\xff", 3)
    else {
        panic!("a sorted set")
    };
    assert_eq!((zset.score(b"a"), zset.score(b"b")), (Some(1.25), Some(f64::NEG_INFINITY)));
    let RdbValue::Object(Object::Set(set)) =
        only(b"\x14\x01k\x0c\x0c\0\0\0\x02\0\x81a\x02\x07\x01\xff", 11)
    else {
        panic!("a listpack set")
    };
    assert!(set.contains(b"a") && set.contains(b"7"));
}

#[test]
fn what_dse_does_not_have_is_named() {
    let complaint = |records: &[u8]| {
        let store = Store::new(1);
        let before = b"\x00\x01a\x01b";
        let file = crafted(10, &[before, records].concat());
        let error = import(&mut Cursor::new(file), &store).expect_err("refused").to_string();
        assert!(store.is_empty(0), "a part was loaded");
        error
    };
    let stream = complaint(b"\xfe\x03\x13\x06events\x00");
    assert!(stream.contains("events") && stream.contains("stream"), "{stream}");
    assert!(stream.contains("database 3"), "{stream}");
    assert!(complaint(b"\x07\x01m\x00").contains("module"));
    assert!(complaint(b"\xf5\x05#!lua").contains("functions"));
    assert!(complaint(b"\xfe\x10\x00\x01a\x01b").contains("database"));
    assert!(complaint(b"\x63\x01a").contains("unknown type"));
    assert!(check(&b"REDIS0012"[..]).expect_err("newer").to_string().contains("12"));
    assert!(matches!(check(&b"RIDES0010"[..]), Err(RdbError::NotRdb)));
    assert!(matches!(check(&b"RE"[..]), Err(RdbError::NotRdb)));
    let empty = crafted(10, b"\x02\x01s\x00\xfc\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01k\x01v");
    let summary = check(&empty[..]).expect("an empty set is passed over");
    assert_eq!((summary.keys, summary.empty_keys, summary.keys_with_deadline), (1, 1, 1));
}

#[test]
fn payloads_are_those_of_redis() {
    let dumped = |string: &[u8]| encode_payload(RdbValueRef::Str(string), true);
    assert_eq!(dumped(b"hello world"), b"\x00\x0bhello world\n\x00\x0b\xfcI\xb9\xa6\xc7\xa04");
    assert_eq!(dumped(b"12345"), b"\x00\xc190\n\x00\x9d\x94\xea'\x93\xfc\x08\xb9");
    assert_eq!(dumped(b"-7"), b"\x00\xc0\xf9\n\x00^&\xd10\xd7\xa2B\xab");
}

#[test]
fn payloads_come_back_and_damage_does_not_pass() {
    for (_, key, _, value) in samples() {
        let payload = encode_payload(borrowed(&value), true);
        let back = decode_payload(&payload, 1 << 20).expect("what was encoded");
        assert!(same(&back, &value), "{key:?}");
        for at in (0..payload.len()).step_by(1 + payload.len() / 50) {
            let mut damaged = payload.clone();
            damaged[at] ^= 0x10;
            assert!(decode_payload(&damaged, 1 << 20).is_err(), "byte {at}");
            assert!(decode_payload(&payload[..at], 1 << 20).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn payloads_that_lie_are_refused() {
    let restored = |body: &[u8]| {
        let payload = [body, &VERSION.to_le_bytes(), &[0; 8]].concat();
        decode_payload(&sealed(payload), 1 << 20).expect_err("refused")
    };
    for body in [
        &b""[..],
        b"\x00",
        b"\x00\x05abc",
        b"\x00\x01ab",
        b"\x00\x82abc",
        b"\x00\xc0",
        b"\x00\xc2abc",
        b"\x00\xc4abc",
        b"\x00\xc3\x03\x05\xe0\x00\x00",
        b"\x01\x00",
        b"\x02\x02\x01a\x01a",
        b"\x01\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x01a",
        b"\x05\x01\x01a\x00\x00\x00\x00\x00\x00\xf8\x7f",
        b"\xff",
    ] {
        assert_eq!(restored(body), PayloadError::Damaged, "{body:?}");
    }
    for body in [
        &b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\x00\x80\xff\xff\xff\xffabc",
        b"\x00\xc3\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00",
    ] {
        assert_eq!(restored(body), PayloadError::TooLong, "{body:?}");
    }
    assert!(matches!(restored(b"\x0f\x00"), PayloadError::Unsupported(_)));
}
