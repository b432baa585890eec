//! What the groups of a simulation keep: keys with numbers, and the log time of what was applied.

use super::history::Kind;
use std::collections::BTreeMap;

/// The applied state of one replica.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub applied: u64,
    pub time_us: u64,
    values: BTreeMap<u16, u64>,
    /// A hash of all keys and values that changes with each of them.
    sum: u64,
}

impl Machine {
    /// What a request that reads is told.
    pub fn read(&self, request: &[u8]) -> u64 {
        self.value(decode(request).0)
    }

    /// Applies a request and returns what its client is told.
    pub fn apply(&mut self, request: &[u8]) -> u64 {
        let (key, kind, _) = decode(request);
        let before = self.value(key);
        let after = match kind {
            Kind::Set(value) => value,
            Kind::Increment => before + 1,
            Kind::Read => before,
        };
        self.sum ^= hash(&[u64::from(key), before]) ^ hash(&[u64::from(key), after]);
        self.values.insert(key, after);
        after
    }

    pub fn value(&self, key: u16) -> u64 {
        self.values.get(&key).copied().unwrap_or_default()
    }

    /// Equal for replicas that have applied the same.
    pub fn hash(&self) -> u64 {
        hash(&[self.applied, self.time_us, self.sum])
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let values = self.values.iter().flat_map(|(&key, &value)| [u64::from(key), value]);
        [self.applied, self.sum].into_iter().chain(values).flat_map(u64::to_le_bytes).collect()
    }

    pub fn from_bytes(time_us: u64, bytes: &[u8]) -> Machine {
        let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next();
        let (applied, sum) = (next().unwrap_or(1), next().unwrap_or_default());
        let mut values = BTreeMap::new();
        while let (Some(key), Some(value)) = (next(), next()) {
            values.insert(key as u16, value);
        }
        Machine { applied, time_us, values, sum }
    }
}

/// The bytes of a request, which is told from all others by its ticket.
pub fn encode(key: u16, kind: Kind, ticket: u64) -> Vec<u8> {
    let (code, value) = match kind {
        Kind::Set(value) => (0, value),
        Kind::Increment => (1, 0),
        Kind::Read => (2, 0),
    };
    let mut bytes = vec![code];
    bytes.extend_from_slice(&key.to_le_bytes());
    bytes.extend_from_slice(&value.to_le_bytes());
    bytes.extend_from_slice(&ticket.to_le_bytes());
    bytes
}

/// Key, kind and ticket of a request.
pub fn decode(bytes: &[u8]) -> (u16, Kind, u64) {
    let (head, rest) = bytes.split_first_chunk::<3>().expect("a request");
    let (words, _) = rest.as_chunks();
    let [value, ticket] = [0, 1].map(|at: usize| u64::from_le_bytes(words[at]));
    let kind = match head[0] {
        0 => Kind::Set(value),
        1 => Kind::Increment,
        _ => Kind::Read,
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
