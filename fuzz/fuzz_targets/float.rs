//! Numbers with a fraction: what is printed reads back, and both readers take the same texts.

#![no_main]

use dse::util::float::{format_double, parse_f64};
use dse::util::long_double::LongDouble;
use libfuzzer_sys::fuzz_target;

fn check(text: &[u8]) {
    let double = parse_f64(text);
    if let Some(value) = double {
        let printed = format_double(value);
        assert_eq!(parse_f64(printed.as_bytes()).map(f64::to_bits), Some(value.to_bits()));
    }
    let long = LongDouble::parse(text);
    // The longer format has the wider range, so it takes what the shorter one takes.
    assert!(double.is_none() || long.is_some() || text.len() >= 5 * 1024);
    if let Some(value) = long {
        let printed = value.to_string();
        if value.is_finite() {
            let again = LongDouble::parse(printed.as_bytes());
            // Printed digits are exact for whole numbers.
            assert!(printed.contains('.') || again.map(|v| v.to_string()) == Some(printed));
            assert_eq!(value.checked_add(LongDouble::ZERO), Some(value));
            assert!(value.checked_add(value).is_none_or(LongDouble::is_finite));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    check(data);
    let letters = b"0123456789.e-+xpaf";
    let spelled: Vec<u8> = data.iter().map(|byte| letters[*byte as usize % 18]).collect();
    check(&spelled);
    if let Some(word) = data.first_chunk() {
        check(format_double(f64::from_le_bytes(*word)).as_bytes());
    }
});
