//! Keyspace events: the bits of `notify-keyspace-events` and their letters.
//!
//! The order of the letters given back is Redis': first the kinds of events (`A` for all but
//! `m`), then `K`, `E` and `m`.

/// `K`: publish on the channel of the key, `__keyspace@<db>__:<key>`.
pub const KEYSPACE: u32 = 1 << 0;
/// `E`: publish on the channel of the event, `__keyevent@<db>__:<event>`.
pub const KEYEVENT: u32 = 1 << 1;
/// `g`: commands of no particular type: DEL, EXPIRE, RENAME, ...
pub const GENERIC: u32 = 1 << 2;
/// `$`: commands on strings.
pub const STRING: u32 = 1 << 3;
/// `l`: commands on lists.
pub const LIST: u32 = 1 << 4;
/// `s`: commands on sets.
pub const SET: u32 = 1 << 5;
/// `h`: commands on hashes.
pub const HASH: u32 = 1 << 6;
/// `z`: commands on sorted sets.
pub const SORTED_SET: u32 = 1 << 7;
/// `x`: a key expired.
pub const EXPIRED: u32 = 1 << 8;
/// `e`: a key was evicted for memory.
pub const EVICTED: u32 = 1 << 9;
/// `t`: commands on streams.
pub const STREAM: u32 = 1 << 10;
/// `m`: a key that was asked for does not exist.
pub const KEY_MISS: u32 = 1 << 11;
/// `d`: events of modules.
pub const MODULE: u32 = 1 << 12;
/// `n`: a key came to be.
pub const NEW: u32 = 1 << 13;
/// `A`: every kind of event but `m` and `n`.
pub const ALL: u32 =
    GENERIC | STRING | LIST | SET | HASH | SORTED_SET | EXPIRED | EVICTED | STREAM | MODULE;

/// Kinds of events in the order of their letters.
const KINDS: [(u8, u32); 11] = [
    (b'g', GENERIC),
    (b'$', STRING),
    (b'l', LIST),
    (b's', SET),
    (b'h', HASH),
    (b'z', SORTED_SET),
    (b'x', EXPIRED),
    (b'e', EVICTED),
    (b't', STREAM),
    (b'd', MODULE),
    (b'n', NEW),
];

/// Letters that follow the kinds.
const CHANNELS: [(u8, u32); 3] = [(b'K', KEYSPACE), (b'E', KEYEVENT), (b'm', KEY_MISS)];

/// The bits of a string of letters in any order; `None` when a letter is unknown.
pub fn parse(letters: &[u8]) -> Option<u32> {
    letters.iter().try_fold(0, |bits, letter| Some(bits | bit(*letter)?))
}

/// The letters of `bits` in Redis' order.
pub fn format(bits: u32) -> String {
    let mut letters = String::new();
    if bits & ALL == ALL {
        letters.push('A');
    } else {
        push_letters(&mut letters, bits, &KINDS);
    }
    push_letters(&mut letters, bits, &CHANNELS);
    letters
}

fn bit(letter: u8) -> Option<u32> {
    if letter == b'A' {
        return Some(ALL);
    }
    KINDS.iter().chain(&CHANNELS).find(|(known, _)| *known == letter).map(|(_, bit)| *bit)
}

fn push_letters(letters: &mut String, bits: u32, table: &[(u8, u32)]) {
    let set = table.iter().filter(|(_, bit)| bits & bit != 0);
    letters.extend(set.map(|(letter, _)| char::from(*letter)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_back_in_the_order_of_redis() {
        for (given, back) in [
            ("", ""),
            ("KEA", "AKE"),
            ("Kx", "xK"),
            ("Kg$lshzxetd", "AK"),
            ("Eg$lshzxetdn", "AE"),
            ("En", "nE"),
            ("mKA", "AKm"),
            ("Kx$lshztdxenm", "$lshzxetdnKm"),
            ("AKEnm", "AKEm"),
            ("lK", "lK"),
        ] {
            assert_eq!(format(parse(given.as_bytes()).unwrap()), back, "{given}");
        }
        assert_eq!(parse(b"q"), None);
        assert_eq!(parse(b"K E"), None);
    }

    #[test]
    fn every_canonical_string_parses_to_its_bits() {
        for bits in 0..1 << 14 {
            let bits = if bits & ALL == ALL { bits & !NEW } else { bits };
            assert_eq!(parse(format(bits).as_bytes()), Some(bits));
        }
    }
}
