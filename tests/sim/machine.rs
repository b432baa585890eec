//! What the groups of a simulation keep: keys with numbers, some until a deadline, and the log time
//! of what was applied.

use super::history::Kind;
use std::collections::BTreeMap;

/// The applied state of one replica.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub applied: u64,
    /// It moves by [`Machine::pass`].
    pub time_us: u64,
    values: BTreeMap<u16, Value>,
    /// A hash of all keys and values that changes with each of them.
    sum: u64,
    /// Keys that were ended by their deadline.
    pub expired: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Value {
    number: u64,
    /// Log time from which on there is no such key; `u64::MAX` for one that stays.
    until_us: u64,
}

impl Machine {
    /// What a request that reads is told.
    pub fn read(&self, request: &[u8]) -> u64 {
        self.value(decode(request).0)
    }

    /// Log time has come so far: keys whose deadline it has reached are gone, for all replicas at
    /// the same entry (C4).
    pub fn pass(&mut self, time_us: u64) {
        self.time_us = time_us;
        let is_dead = |value: &Value| value.until_us <= time_us;
        let dead = self.values.iter().filter(|(_, value)| is_dead(value)).map(|(&key, _)| key);
        for key in dead.collect::<Vec<_>>() {
            self.put(key, None);
            self.expired += 1;
        }
    }

    /// Applies a request and returns what its client is told.
    pub fn apply(&mut self, request: &[u8]) -> u64 {
        let (key, kind, _) = decode(request);
        let before = self.values.get(&key).copied();
        let number = before.unwrap_or_default().number;
        let after = match kind {
            Kind::Set(number) => Value { number, until_us: u64::MAX },
            Kind::SetFor(number, ttl_us) => Value { number, until_us: self.time_us + ttl_us },
            Kind::Increment => {
                let until_us = before.map_or(u64::MAX, |before| before.until_us);
                Value { number: number + 1, until_us }
            }
            Kind::Read | Kind::Expire(_) => return number,
        };
        self.put(key, Some(after));
        after.number
    }

    fn put(&mut self, key: u16, value: Option<Value>) {
        let before = match value {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(&key),
        };
        let hash_of = |value: Value| hash(&[u64::from(key), value.number, value.until_us]);
        self.sum ^= before.map_or(0, hash_of) ^ value.map_or(0, hash_of);
    }

    /// Whether some keys have a deadline.
    pub fn has_deadlines(&self) -> bool {
        self.values.values().any(|value| value.until_us < u64::MAX)
    }

    pub fn value(&self, key: u16) -> u64 {
        self.values.get(&key).copied().unwrap_or_default().number
    }

    /// Equal for replicas that have applied the same.
    pub fn hash(&self) -> u64 {
        hash(&[self.applied, self.time_us, self.sum])
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let words = |(&key, value): (&u16, &Value)| [key.into(), value.number, value.until_us];
        let values = self.values.iter().flat_map(words);
        [self.applied, self.sum].into_iter().chain(values).flat_map(u64::to_le_bytes).collect()
    }

    pub fn from_bytes(time_us: u64, bytes: &[u8]) -> Machine {
        let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next();
        let (applied, sum) = (next().unwrap_or(1), next().unwrap_or_default());
        let mut values = BTreeMap::new();
        while let (Some(key), Some(number), Some(until_us)) = (next(), next(), next()) {
            values.insert(key as u16, Value { number, until_us });
        }
        Machine { applied, time_us, values, sum, expired: 0 }
    }
}

/// The bytes of a request, which is told from all others by its ticket.
pub fn encode(key: u16, kind: Kind, ticket: u64) -> Vec<u8> {
    let (code, value, ttl_us) = match kind {
        Kind::Set(value) => (0, value, 0),
        Kind::Increment => (1, 0, 0),
        Kind::Read => (2, 0, 0),
        Kind::SetFor(value, ttl_us) => (3, value, ttl_us),
        Kind::Expire(_) => unreachable!("nobody asks for that"),
    };
    let mut bytes = vec![code];
    bytes.extend_from_slice(&key.to_le_bytes());
    for word in [value, ttl_us, ticket] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// Key, kind and ticket of a request.
pub fn decode(bytes: &[u8]) -> (u16, Kind, u64) {
    let (head, rest) = bytes.split_first_chunk::<3>().expect("a request");
    let (words, _) = rest.as_chunks();
    let [value, ttl_us, ticket] = [0, 1, 2].map(|at: usize| u64::from_le_bytes(words[at]));
    let kind = match head[0] {
        0 => Kind::Set(value),
        1 => Kind::Increment,
        2 => Kind::Read,
        _ => Kind::SetFor(value, ttl_us),
    };
    (u16::from_le_bytes([head[1], head[2]]), kind, ticket)
}

/// A hash of some words.
pub fn hash(words: &[u64]) -> u64 {
    words.iter().fold(0x51_7c_c1_b7, |sum: u64, word| {
        let mixed = (sum.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    })
}

/// A hash of some bytes.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let all: Vec<u64> = words.chain(rest.iter().map(|&byte| u64::from(byte))).collect();
    hash(&all)
}
