//! What one connection wrote, and so what it must read.
//!
//! With `--verify` the numbers are divided among the connections: connection i of n has those
//! with `number % n == i`, and nobody else touches them. Requests of one connection are executed
//! in order, so every reply is known at the moment its request is rendered, pipelined or not.
//!
//! Values are not stored: the value of a key's version follows from number and version.

use super::suite::Check;
use crate::bench::client::scan::Reply;
use crate::util::rng::SplitMix64;

/// The numbers of one connection, and what lies under them.
#[derive(Debug)]
pub struct Model {
    /// The connection's first number, and the distance to its next.
    first: u64,
    step: u64,
    /// Version of the value under each own key; 0: there is none.
    versions: Vec<u32>,
    /// The number under each own counter.
    counts: Vec<u32>,
    value_bytes: usize,
}

/// What must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `OK`.
    Ok,
    /// `PONG`.
    Pong,
    /// This version of the value of a number, or nothing for version 0.
    Value {
        /// Which key.
        number: u64,
        /// Which of its values.
        version: u32,
    },
    /// This number.
    Int(u32),
    /// Anything but an error.
    NoError,
}

impl Model {
    /// The model of connection `index` of `clients`, over `space` numbers and values of
    /// `value_bytes`. Every connection has one number at least.
    pub fn new(index: usize, clients: usize, space: u64, value_bytes: usize) -> Model {
        let (first, step) = (index as u64, clients as u64);
        let own = space.saturating_sub(first).div_ceil(step).max(1) as usize;
        Model { first, step, versions: vec![0; own], counts: vec![0; own], value_bytes }
    }

    /// How many numbers are the connection's own.
    pub fn own(&self) -> u64 {
        self.versions.len() as u64
    }

    /// The own number that `draw`, any number, stands for.
    pub fn number(&self, draw: u64) -> u64 {
        self.first + draw % self.own() * self.step
    }

    fn place(&self, number: u64) -> usize {
        ((number - self.first) / self.step) as usize
    }

    /// Notes a request for `number`, which is sent after all before it; writes its value into
    /// `data`, where it has one. Returns what must be answered.
    pub fn send(&mut self, check: Check, number: u64, data: Option<&mut [u8]>) -> Expected {
        let place = self.place(number);
        match check {
            Check::Set => {
                self.versions[place] += 1;
                if let Some(data) = data {
                    write_value(number, self.versions[place], data);
                }
                Expected::Ok
            }
            Check::Get => Expected::Value { number, version: self.versions[place] },
            Check::Incr => {
                self.counts[place] += 1;
                Expected::Int(self.counts[place])
            }
            Check::Reset => {
                self.counts[place] = 0;
                Expected::Ok
            }
            Check::Pong => Expected::Pong,
            Check::NoError => Expected::NoError,
        }
    }

    /// True if `reply` is what must come. `scratch` is overwritten.
    pub fn is_right(&self, expected: Expected, reply: &Reply<'_>, scratch: &mut Vec<u8>) -> bool {
        match expected {
            Expected::Ok => reply.kind == b'+' && reply.text == b"OK",
            Expected::Pong => reply.kind == b'+' && reply.text == b"PONG",
            Expected::NoError => !matches!(reply.kind, b'-' | b'!'),
            Expected::Value { version: 0, .. } => reply.nil,
            Expected::Value { number, version } => {
                scratch.clear();
                scratch.resize(self.value_bytes, 0);
                write_value(number, version, scratch);
                reply.kind == b'$' && !reply.nil && reply.text == scratch.as_slice()
            }
            Expected::Int(int) => {
                let mut buffer = itoa::Buffer::new();
                reply.kind == b':' && reply.text == buffer.format(int).as_bytes()
            }
        }
    }
}

/// Fills `data` with letters, drawn by number and version.
fn write_value(number: u64, version: u32, data: &mut [u8]) {
    let mut rng = SplitMix64::new(number.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ u64::from(version));
    for chunk in data.chunks_mut(8) {
        let letters = (rng.next_u64() & 0x0f0f_0f0f_0f0f_0f0f) + 0x6161_6161_6161_6161;
        chunk.copy_from_slice(&letters.to_le_bytes()[..chunk.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_divided_without_a_rest() {
        let mut owners = [0; 10];
        for index in 0..3 {
            let model = Model::new(index, 3, 10, 8);
            for draw in 0..model.own() {
                owners[model.number(draw) as usize] += 1;
            }
        }
        assert_eq!(owners, [1; 10]);
        assert_eq!(Model::new(5, 6, 2, 8).own(), 1, "a number that nobody else has");
    }

    #[test]
    fn a_read_must_give_the_last_value_written_before_it() {
        let (mut model, mut scratch) = (Model::new(1, 2, 10, 20), Vec::new());
        let nil = Reply { kind: b'$', nil: true, text: b"-1" };
        let absent = model.send(Check::Get, 3, None);
        assert!(model.is_right(absent, &nil, &mut scratch));

        let (mut first, mut second) = ([0; 20], [0; 20]);
        let ok = model.send(Check::Set, 3, Some(&mut first));
        let between = model.send(Check::Get, 3, None);
        model.send(Check::Set, 3, Some(&mut second));
        let after = model.send(Check::Get, 3, None);
        assert_ne!(first, second);
        assert!(model.is_right(ok, &Reply { kind: b'+', nil: false, text: b"OK" }, &mut scratch));
        let mut right = |expected, text: &[u8]| {
            model.is_right(expected, &Reply { kind: b'$', nil: false, text }, &mut scratch)
        };
        assert!(right(between, &first) && !right(between, &second));
        assert!(right(after, &second) && !right(after, &first));
        assert!(!right(absent, &first) && !right(after, &second[..19]));
        assert!(!model.is_right(after, &nil, &mut scratch), "it was lost");
    }

    #[test]
    fn counters_count_by_one() {
        let (mut model, mut scratch) = (Model::new(0, 1, 1, 8), Vec::new());
        for count in ["1", "2", "3"] {
            let expected = model.send(Check::Incr, 0, None);
            let reply = Reply { kind: b':', nil: false, text: count.as_bytes() };
            assert!(model.is_right(expected, &reply, &mut scratch));
        }
    }
}
