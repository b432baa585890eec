//! Hostile RDB files and DUMP payloads never do harm, and what was read can be written and read
//! again.

#![no_main]

use dse::snapshot::rdb::{
    RdbValue, RdbValueRef, Writer, check, decode_payload, encode_payload, read,
};
use dse::util::crc64::crc64;
use libfuzzer_sys::fuzz_target;

const STRING_MAX: u64 = 1 << 20;

fn borrowed(value: &RdbValue) -> RdbValueRef<'_> {
    match value {
        RdbValue::Str(string) => RdbValueRef::Str(string),
        RdbValue::Object(object) => RdbValueRef::Object(object),
    }
}

fuzz_target!(|data: &[u8]| {
    // A file: a checksum of zeros stands for none.
    let mut file = b"REDIS0010".to_vec();
    file.extend_from_slice(data);
    let mut writer = Writer::new(Vec::new(), true);
    let mut write = |record: dse::snapshot::rdb::Record| {
        let value = borrowed(&record.value);
        writer.record(record.db, &record.key, record.deadline, value).unwrap();
    };
    if let Ok(summary) = read(&file[..], &mut write) {
        let (again, _) = writer.finish().unwrap();
        assert_eq!(check(&again[..]).unwrap().keys, summary.keys);
    }

    // A payload, with the footer that belongs to it.
    let mut payload = data.to_vec();
    payload.extend_from_slice(&[10, 0]);
    payload.extend_from_slice(&crc64(0, &payload).to_le_bytes());
    if let Ok(value) = decode_payload(&payload, STRING_MAX) {
        let again = encode_payload(borrowed(&value), true);
        assert!(decode_payload(&again, STRING_MAX).is_ok());
    }
});
