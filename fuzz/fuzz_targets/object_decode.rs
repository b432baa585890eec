//! Hostile bytes of values never do harm, and what is accepted has one spelling.

#![no_main]

use dse::store::{Cursor, DecodedEntry, DecodedValue, Kind, Object};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = DecodedEntry::decode(data)
        && let DecodedValue::Object(object) = entry.value
    {
        assert!(!object.is_empty());
    }
    let Some((&choice, bytes)) = data.split_first() else { return };
    let kinds = [Kind::String, Kind::List, Kind::Set, Kind::Hash, Kind::ZSet];
    let Ok(object) = Object::decode(kinds[usize::from(choice) % kinds.len()], bytes) else {
        return;
    };
    let (mut again, mut cursor) = (Vec::new(), Cursor::default());
    while !object.encode_some(&mut cursor, usize::from(choice), &mut again) {}
    assert!(again == bytes);
});
