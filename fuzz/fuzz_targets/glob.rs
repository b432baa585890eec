//! Patterns match what a naive matcher says, within the promised number of steps.

#![no_main]

use dse::util::glob::{matches, matches_counting};
use libfuzzer_sys::fuzz_target;

/// Tries every way of sharing the text among the stars; gives up when `fuel` is used up.
fn naive(pattern: &[u8], text: &[u8], nocase: bool, fuel: &mut u32) -> Option<bool> {
    *fuel = fuel.checked_sub(1)?;
    match (pattern, text) {
        ([], _) => Some(text.is_empty()),
        ([b'*', rest @ ..], _) => {
            for swallowed in 0..=text.len() {
                if naive(rest, &text[swallowed..], nocase, fuel)? {
                    return Some(true);
                }
            }
            Some(false)
        }
        (_, []) => Some(false),
        (_, [byte, rest @ ..]) => {
            let (element, behind) = pattern.split_at(element_len(pattern));
            // One element against one byte leaves nothing to share out.
            let matched = matches(element, &[*byte], nocase);
            if matched { naive(behind, rest, nocase, fuel) } else { Some(false) }
        }
    }
}

/// Length of the first element of a pattern that does not start with a star.
fn element_len(pattern: &[u8]) -> usize {
    match pattern {
        [b'\\', _, ..] => 2,
        [b'[', b'^', class @ ..] => 2 + class_len(class),
        [b'[', class @ ..] => 1 + class_len(class),
        _ => 1,
    }
}

fn class_len(class: &[u8]) -> usize {
    match class {
        [] => 0,
        [b'\\', _, rest @ ..] => 2 + class_len(rest),
        [b']', ..] => 1,
        [_, b'-', _, rest @ ..] => 3 + class_len(rest),
        [_, rest @ ..] => 1 + class_len(rest),
    }
}

fuzz_target!(|data: &[u8]| {
    let [split, data @ ..] = data else { return };
    let nocase = split & 128 != 0;
    let (pattern, text) = data.split_at(data.len().min(usize::from(split & 127)));
    let mut steps = 0;
    let matched = matches_counting(pattern, text, nocase, &mut steps);
    assert!(steps <= 2 * (pattern.len() as u64 + 1) * (text.len() as u64 + 1));
    // Like Redis, an empty text is matched by an empty pattern only.
    if text.is_empty() {
        assert_eq!(matched, pattern.is_empty());
    } else if let Some(want) = naive(pattern, text, nocase, &mut 20_000) {
        assert_eq!(matched, want);
    }
});
