//! Damaged input never does harm, and what was compressed comes back.

#![no_main]

use dse::util::lzf::{compress, decompress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(packed) = compress(data) {
        assert!(packed.len() < data.len());
        assert_eq!(decompress(&packed, data.len()).as_deref(), Some(data));
    }
    let [low, high, packed @ ..] = data else { return };
    let len = usize::from(u16::from_le_bytes([*low, *high]));
    if let Some(bytes) = decompress(packed, len) {
        assert_eq!(bytes.len(), len);
    }
    // An absurd length neither succeeds nor allocates.
    assert_eq!(decompress(packed, usize::MAX), None);
});
