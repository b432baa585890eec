//! A text is a number exactly if it is how the standard library prints one.

#![no_main]

use dse::util::int::{format_i64, parse_i64, parse_memory, parse_u64};
use libfuzzer_sys::fuzz_target;
use std::fmt::Display;
use std::str::FromStr;

/// The number that prints as `text`.
fn canonical<T: FromStr + Display>(text: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().filter(|value: &T| value.to_string() == text)
}

fuzz_target!(|data: &[u8]| {
    // The bytes as they are, and the same bytes as a text of digits and signs.
    let digits: Vec<u8> = data.iter().map(|byte| b"0123456789-+ "[*byte as usize % 13]).collect();
    for text in [data, &digits] {
        assert_eq!(parse_i64(text), canonical::<i64>(text));
        assert_eq!(parse_u64(text), canonical::<u64>(text));
        let bytes = parse_memory(text);
        if let Some(value) = parse_u64(text) {
            assert_eq!(bytes, Some(value));
        }
    }
    if let Some(word) = data.first_chunk() {
        let value = i64::from_le_bytes(*word);
        let mut text = Vec::new();
        format_i64(value, &mut text);
        assert_eq!(parse_i64(&text), Some(value));
    }
});
