//! What a connection did, and which states of its keys that allows after a crash.
//!
//! A connection's commands run in the order sent, and the log keeps that order. So after a crash
//! its keys must be as after exactly `k` of its operations, for one `k` between the operations
//! acknowledged and those sent. That one rule says everything: nothing acknowledged is lost,
//! nothing is applied twice, a list holds a prefix, a transaction is whole or absent, no value is
//! wrong. The operations follow from the connection's number and theirs, so only two counts and
//! the members that SPOP returned must be remembered.

use crate::common::random::Random;
use crate::common::value::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A command.
pub type Command = Vec<Vec<u8>>;

/// A key's value and deadline, ms since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    Text(Vec<u8>, Option<u64>),
    List(Vec<u64>),
    Set(BTreeSet<u64>),
}

/// Keys and values.
pub type State = BTreeMap<String, Stored>;

/// One connection's past.
#[derive(Clone, Debug)]
pub struct History {
    /// Tells its keys and values from those of others.
    pub connection: u64,
    /// Operations sent.
    pub sent: u64,
    /// Operations whose replies were read.
    pub acknowledged: u64,
    /// What SPOP returned, by operation.
    pub popped: BTreeMap<u64, Option<u64>>,
}

/// Keys that have deadlines, of each connection.
const DEADLINE_KEYS: u64 = 8;
/// A deadline that no test sees pass, ms since 1970.
const FAR_AWAY_MS: u64 = 4_000_000_000_000;

#[derive(Debug)]
enum Operation {
    Set { slot: u64 },
    Incr,
    Push,
    Transaction,
    Add,
    Pop,
    Deadline { slot: u64 },
    SetMany,
    Rename,
    Share,
}

fn operation(connection: u64, number: u64) -> Operation {
    let mut random = Random::new(connection << 32 ^ number);
    match random.below(12) {
        0 | 1 => Operation::Set { slot: random.below(40) as u64 },
        2 => Operation::Incr,
        3 | 4 => Operation::Push,
        5 => Operation::Transaction,
        6 => Operation::Add,
        7 => Operation::Pop,
        8 => Operation::Deadline { slot: random.below(DEADLINE_KEYS as usize) as u64 },
        9 => Operation::SetMany,
        10 => Operation::Rename,
        _ => Operation::Share,
    }
}

/// The counter that all connections share.
pub const SHARED: &str = "shared";

/// A value that no other operation writes. Some are long enough to lie in blocks of their own, and
/// a few go into the log in pieces.
fn unique(connection: u64, number: u64) -> Vec<u8> {
    let mut value = format!("{connection}.{number}.").into_bytes();
    if number % 211 == 100 {
        value.resize(300_000 + (number * 37 % 500_000) as usize, b'a' + (number % 26) as u8);
    } else if number.is_multiple_of(11) {
        value.resize(2000 + (number % 7000) as usize, b'a' + (number % 26) as u8);
    }
    value
}

/// The commands of an operation, in order; each has one reply.
pub fn commands(connection: u64, number: u64) -> Vec<Command> {
    let text = unique(connection, number);
    let n = number.to_string().into_bytes();
    let key = |name: &str| format!("{name}:{connection}").into_bytes();
    let word = |word: &str| word.as_bytes().to_vec();
    match operation(connection, number) {
        Operation::Set { slot } => vec![vec![word("SET"), key(&format!("s{slot}")), text]],
        Operation::Incr => vec![vec![word("INCR"), key("i")]],
        Operation::Push => vec![vec![word("RPUSH"), key("l"), n]],
        Operation::Transaction => vec![
            vec![word("MULTI")],
            vec![word("INCR"), key("ti")],
            vec![word("SET"), key("ts"), text],
            vec![word("RPUSH"), key("tl"), n],
            vec![word("INCR"), key("tj")],
            vec![word("EXEC")],
        ],
        Operation::Add => vec![vec![word("SADD"), key("p"), n]],
        Operation::Pop => vec![vec![word("SPOP"), key("p")]],
        Operation::Deadline { slot } => {
            let at = (FAR_AWAY_MS + number).to_string().into_bytes();
            vec![vec![word("SET"), key(&format!("d{slot}")), text, word("PXAT"), at]]
        }
        Operation::SetMany => vec![vec![word("MSET"), key("a"), text.clone(), key("b"), text]],
        Operation::Rename => vec![
            vec![word("MULTI")],
            vec![word("SET"), key("r"), text],
            vec![word("RENAME"), key("r"), key("q")],
            vec![word("EXEC")],
        ],
        Operation::Share => vec![
            vec![word("MULTI")],
            vec![word("INCR"), word(SHARED)],
            vec![word("INCR"), key("shares")],
            vec![word("EXEC")],
        ],
    }
}

/// Keys that the connection may have written.
pub fn keys(connection: u64) -> Vec<String> {
    let slots = (0..40).map(|slot| format!("s{slot}"));
    let deadlines = (0..DEADLINE_KEYS).map(|slot| format!("d{slot}"));
    let others = ["i", "l", "ti", "ts", "tl", "tj", "p", "a", "b", "r", "q", "shares"];
    let names = slots.chain(deadlines).chain(others.map(String::from));
    names.map(|name| format!("{name}:{connection}")).collect()
}

impl History {
    pub fn new(connection: u64) -> History {
        History { connection, sent: 0, acknowledged: 0, popped: BTreeMap::new() }
    }

    /// Notes the replies of the next operation. An error is what a server must not answer.
    pub fn acknowledge(&mut self, replies: &[Value]) -> Result<(), String> {
        let number = self.acknowledged;
        let is_bad = |value: &&Value| {
            let inner = value.elements().unwrap_or_default();
            value.is_error() || inner.iter().any(Value::is_error)
        };
        if let Some(error) = replies.iter().find(is_bad) {
            return Err(format!("operation {number}: {}", error.pretty()));
        }
        if matches!(operation(self.connection, number), Operation::Pop) {
            let member = replies.last().and_then(Value::text);
            let member = member.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            self.popped.insert(number, member);
        }
        self.acknowledged += 1;
        Ok(())
    }

    /// Which numbers of operations explain `found`, the state of this connection's keys.
    pub fn explain(&self, found: &State) -> Result<(u64, u64), String> {
        let mut state = State::new();
        let mut matching: Option<(u64, u64)> = None;
        let mut nearest = (usize::MAX, String::new());
        // Members that an SPOP may have taken whose reply did not arrive.
        let mut taken = 0;
        for count in 0..=self.sent {
            if count >= self.acknowledged {
                match self.difference(&state, taken, found) {
                    None => matching = Some((matching.map_or(count, |(first, _)| first), count)),
                    Some((keys, text)) if keys < nearest.0 => {
                        nearest = (keys, format!("after {count} operations {text}"));
                    }
                    Some(_) => {}
                }
            }
            if count < self.sent {
                taken += self.apply(&mut state, count, taken);
            }
        }
        matching.ok_or_else(|| {
            let History { connection, sent, acknowledged, .. } = self;
            format!(
                "connection {connection}, {acknowledged} operations acknowledged, {sent} sent, is \
                 in a state that none of them left; the nearest: {}",
                nearest.1
            )
        })
    }

    /// The number of keys that differ, and one of them; `None` if the states are the same.
    fn difference(&self, state: &State, taken: u64, found: &State) -> Option<(usize, String)> {
        let pool = format!("p:{}", self.connection);
        let mut differing = Vec::new();
        for key in keys(self.connection) {
            let (want, have) = (state.get(&key), found.get(&key));
            let same = if key == pool { pool_fits(want, taken, have) } else { want == have };
            if !same {
                differing.push((key, want, have));
            }
        }
        let (key, want, have) = differing.first()?;
        let text = format!("{key} would be {}, but is {}", show(*want), show(*have));
        Some((differing.len(), text))
    }

    /// Applies an operation; 1 if it took a member that nobody knows, beside `taken` others.
    fn apply(&self, state: &mut State, number: u64, taken: u64) -> u64 {
        let connection = self.connection;
        let text = || Stored::Text(unique(connection, number), None);
        let key = |name: &str| format!("{name}:{connection}");
        match operation(connection, number) {
            Operation::Set { slot } => drop(state.insert(key(&format!("s{slot}")), text())),
            Operation::Incr => increment(state, key("i")),
            Operation::Push => push(state, key("l"), number),
            Operation::Transaction => {
                increment(state, key("ti"));
                state.insert(key("ts"), text());
                push(state, key("tl"), number);
                increment(state, key("tj"));
            }
            Operation::Add => {
                let empty = || Stored::Set(BTreeSet::new());
                if let Stored::Set(set) = state.entry(key("p")).or_insert_with(empty) {
                    set.insert(number);
                }
            }
            Operation::Pop => return self.pop(state, number, taken),
            Operation::Deadline { slot } => {
                let value = Stored::Text(unique(connection, number), Some(FAR_AWAY_MS + number));
                state.insert(key(&format!("d{slot}")), value);
            }
            Operation::SetMany => {
                state.insert(key("a"), text());
                state.insert(key("b"), text());
            }
            Operation::Rename => drop(state.insert(key("q"), text())),
            Operation::Share => increment(state, key("shares")),
        }
        0
    }

    fn pop(&self, state: &mut State, number: u64, taken: u64) -> u64 {
        let pool = format!("p:{}", self.connection);
        match self.popped.get(&number) {
            None => {
                let members = match state.get(&pool) {
                    Some(Stored::Set(set)) => set.len() as u64,
                    _ => 0,
                };
                u64::from(members > taken)
            }
            Some(None) => 0,
            Some(Some(member)) => {
                if let Some(Stored::Set(set)) = state.get_mut(&pool) {
                    set.remove(member);
                    if set.is_empty() {
                        state.remove(&pool);
                    }
                }
                0
            }
        }
    }
}

/// Whether `have` is `want` without `taken` of its members.
fn pool_fits(want: Option<&Stored>, taken: u64, have: Option<&Stored>) -> bool {
    let none = Stored::Set(BTreeSet::new());
    let pair = (want.unwrap_or(&none), have.unwrap_or(&none));
    let (Stored::Set(want), Stored::Set(have)) = pair else { return false };
    have.is_subset(want) && have.len() as u64 + taken == want.len() as u64
}

fn increment(state: &mut State, key: String) {
    let old = match state.get(&key) {
        Some(Stored::Text(text, _)) => std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()),
        _ => None,
    };
    let next: u64 = old.unwrap_or(0) + 1;
    state.insert(key, Stored::Text(next.to_string().into_bytes(), None));
}

fn push(state: &mut State, key: String, number: u64) {
    if let Stored::List(list) = state.entry(key).or_insert_with(|| Stored::List(Vec::new())) {
        list.push(number);
    }
}

/// A value for a report.
fn show(stored: Option<&Stored>) -> String {
    let text = format!("{stored:?}");
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}... ({} characters)", &text[..end], text.len()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history of `sent` operations of which all but the last five are acknowledged, and the
    /// state after `applied` of them.
    fn past(sent: u64, applied: u64) -> (History, State) {
        let mut history = History::new(3);
        history.sent = sent;
        history.acknowledged = sent - 5;
        let (mut members, mut state) = (BTreeSet::new(), State::new());
        for number in 0..sent {
            match operation(3, number) {
                Operation::Add => drop(members.insert(number)),
                Operation::Pop => drop(history.popped.insert(number, members.pop_first())),
                _ => {}
            }
        }
        for number in 0..applied {
            history.apply(&mut state, number, 0);
        }
        (history, state)
    }

    #[test]
    fn every_state_between_acknowledged_and_sent_is_explained() {
        for applied in 395..=400 {
            let (history, state) = past(400, applied);
            let (from, to) = history.explain(&state).expect("explained");
            assert!((from..=to).contains(&applied));
        }
    }

    #[test]
    fn lost_operations_are_noticed_however_few() {
        for applied in 0..395 {
            let (history, state) = past(400, applied);
            // Those that change nothing cannot be missed.
            let mut whole = state.clone();
            for number in applied..395 {
                history.apply(&mut whole, number, 0);
            }
            let explained = history.explain(&state).is_ok();
            assert_eq!(explained, whole == state, "{applied} of 395 were applied");
        }
    }

    #[test]
    fn every_doctored_key_is_noticed() {
        let (history, state) = past(400, 400);
        for key in state.keys() {
            let mut lost = state.clone();
            lost.remove(key);
            assert!(history.explain(&lost).is_err(), "{key} is lost");
            let mut wrong = state.clone();
            match wrong.get_mut(key).expect("there") {
                Stored::Text(text, _) => text.push(b'1'),
                Stored::List(list) => list.push(7),
                Stored::Set(set) => drop(set.insert(1_000_000)),
            }
            assert!(history.explain(&wrong).is_err(), "{key} is wrong");
        }
    }

    #[test]
    fn a_transaction_in_part_a_double_increment_and_a_deadline_are_noticed() {
        let (history, state) = past(400, 400);
        let (mut half, mut twice, mut forever) = (state.clone(), state.clone(), state);
        increment(&mut half, "ti:3".into());
        assert!(history.explain(&half).is_err());
        increment(&mut twice, "i:3".into());
        assert!(history.explain(&twice).is_err());
        let with_deadline = forever.values_mut().find_map(|stored| match stored {
            Stored::Text(_, deadline @ Some(_)) => Some(deadline),
            _ => None,
        });
        *with_deadline.expect("one has a deadline") = None;
        assert!(history.explain(&forever).is_err());
    }
}
