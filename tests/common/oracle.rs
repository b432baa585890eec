//! Two servers get the same random commands; their replies must agree.
//!
//! Work goes in rounds. A round begins with empty servers and new connections, so that what led to
//! a difference is never longer than a round, and `minimise` can replay it. Commands leave in
//! pipelines, partly as inline requests, whose bytes are cut at random places.

use super::differences::{Allowed, allowed};
use super::generate::{Command, Generator};
use super::minimise::minimise;
use super::quote::{command_line, quote};
use super::random::Random;
use super::value::Value;
use super::wire::{Client, WireError, encode};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Commands between two fresh starts.
const ROUND_COMMANDS: usize = 1000;
/// Commands in one pipeline at most.
const PIPELINE_COMMANDS: usize = 32;
/// A pipeline is sent when it has grown to this, so that requests never wait for replies unread.
const PIPELINE_BYTES: usize = 64 * 1024;
/// Differences that are told before a comparison gives up.
const MISMATCHES_MAX: usize = 25;
/// Differences in the replies to one command that are told.
const MISMATCHES_PER_COMMAND: usize = 2;

/// What to compare.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub commands: usize,
    /// 2 or 3.
    pub protocol: u8,
}

/// One side of the comparison.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    pub name: &'static str,
    pub address: SocketAddr,
}

/// What the comparison found.
pub struct Report {
    pub commands: usize,
    /// Each difference as a text that can be read and replayed.
    pub mismatches: Vec<String>,
}

/// A reply from each side.
pub type Replies = (Result<Value, WireError>, Result<Value, WireError>);

/// Where the replies first differ, with both of them.
pub struct Difference {
    pub index: usize,
    pub replies: Replies,
}

/// Runs the plan, or as much of it as it takes to find too many differences.
pub fn compare(left: Side, right: Side, plan: Plan) -> Report {
    let mut report = Report { commands: 0, mismatches: Vec::new() };
    let mut told: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut round = 0;
    while report.commands < plan.commands && report.mismatches.len() < MISMATCHES_MAX {
        let length = ROUND_COMMANDS.min(plan.commands - report.commands);
        let mut generator = Generator::new(plan.seed.wrapping_mul(1_000_003).wrapping_add(round));
        let mut pair = Pair::fresh(left, right, plan.protocol);
        let (history, difference) = play_round(&mut pair, &mut generator, length);
        report.commands += history.len();
        if let Some(difference) = difference {
            let name = history[difference.index][0].to_ascii_uppercase();
            let count = told.entry(name).or_default();
            *count += 1;
            if *count <= MISMATCHES_PER_COMMAND {
                let head = format!("seed {}, round {round}, RESP{}", plan.seed, plan.protocol);
                report.mismatches.push(tell(&head, left, right, plan, &history, difference));
            }
        }
        round += 1;
    }
    report
}

fn tell(
    head: &str,
    left: Side,
    right: Side,
    plan: Plan,
    history: &[Command],
    found: Difference,
) -> String {
    let history = &history[..=found.index];
    let replay = |commands: &[Command]| {
        let mut pair = Pair::fresh(left, right, plan.protocol);
        pair.first_difference(commands)
    };
    let (commands, found, note) = match minimise(history, replay) {
        Some((commands, difference)) => (commands, difference, ""),
        None => {
            let last = history.len().saturating_sub(10);
            (history[last..].to_vec(), found, " (only in pipelines; its last commands)")
        }
    };
    let lines: Vec<String> = commands.iter().map(|c| format!("  > {}", command_line(c))).collect();
    format!(
        "{head}{note}\n{}\n    {:>6}: {}\n    {:>6}: {}\n",
        lines.join("\n"),
        left.name,
        shown(&found.replies.0),
        right.name,
        shown(&found.replies.1)
    )
}

fn shown(reply: &Result<Value, WireError>) -> String {
    let text = match reply {
        Ok(value) => value.pretty(),
        Err(error) => error.to_string(),
    };
    let short: String = text.chars().take(2000).collect();
    short.replace('\n', "\n            ")
}

/// Plays generated commands until `length` of them are answered or an answer differs; gives all
/// that were sent.
fn play_round(
    pair: &mut Pair,
    generator: &mut Generator,
    length: usize,
) -> (Vec<Command>, Option<Difference>) {
    let mut history = Vec::new();
    while history.len() < length {
        let start = history.len();
        let wanted = (1 + generator.random().below(PIPELINE_COMMANDS)).min(length - start);
        let mut bytes = Vec::new();
        while history.len() < start + wanted && bytes.len() < PIPELINE_BYTES {
            let command = generator.command();
            bytes.extend(request(&command, generator.random()));
            history.push(command);
        }
        let pieces = cut(&bytes, generator.random());
        pair.send(&pieces);
        if let Some(mut difference) = pair.read_and_compare(&history[start..]) {
            difference.index += start;
            return (history, Some(difference));
        }
    }
    (history, None)
}

/// A command as an array of bulks, or now and then as a line.
fn request(command: &Command, random: &mut Random) -> Vec<u8> {
    let short = command.iter().map(Vec::len).sum::<usize>() < 1000;
    if short && random.chance(10) {
        let words: Vec<String> = command.iter().map(|argument| quote(argument)).collect();
        let end = if random.chance(50) { "\n" } else { "\r\n" };
        return (words.join(" ") + end).into_bytes();
    }
    encode(command)
}

/// The bytes in one to five pieces.
fn cut(bytes: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = (0..random.below(5)).map(|_| random.below(bytes.len())).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| bytes[ends[0]..ends[1]].to_vec()).collect()
}

/// A connection to each side, in the same state.
pub struct Pair {
    left: Client,
    right: Client,
    /// The commands of the open transaction.
    queued: Option<Vec<Command>>,
}

impl Pair {
    /// Empties both servers and connects anew.
    pub fn fresh(left: Side, right: Side, protocol: u8) -> Pair {
        let connect = |side: Side| {
            let mut client = Client::connect(side.address).expect("the server accepts connections");
            for line in [
                "CONFIG SET hash-max-listpack-entries 128 zset-max-listpack-entries 128",
                "CONFIG SET set-max-intset-entries 512",
                "FLUSHALL",
            ] {
                let words: Vec<&str> = line.split(' ').collect();
                let reply = client.call(&words);
                let done = matches!(&reply, Ok(Value::Simple(text)) if text == b"OK");
                assert!(done, "{} answers to {line}: {reply:?}", side.name);
            }
            if protocol == 3 {
                let reply = client.call(&["HELLO", "3"]);
                let switched = matches!(reply, Ok(Value::Map(_)));
                assert!(switched, "{} answers to HELLO 3: {reply:?}", side.name);
            }
            client
        };
        Pair { left: connect(left), right: connect(right), queued: None }
    }

    /// Plays commands one after the other, in whole pipelines.
    pub fn first_difference(&mut self, commands: &[Command]) -> Option<Difference> {
        for (number, batch) in commands.chunks(PIPELINE_COMMANDS).enumerate() {
            let bytes = batch.iter().map(encode_command).collect::<Vec<_>>();
            self.send(&bytes);
            if let Some(mut difference) = self.read_and_compare(batch) {
                difference.index += number * PIPELINE_COMMANDS;
                return Some(difference);
            }
        }
        None
    }

    fn send(&mut self, pieces: &[Vec<u8>]) {
        for piece in pieces {
            self.left.send(piece);
            self.right.send(piece);
            // Long enough that the pieces arrive apart, now and then.
            std::thread::sleep(Duration::from_micros(if pieces.len() < 6 { 50 } else { 0 }));
        }
    }

    fn read_and_compare(&mut self, commands: &[Command]) -> Option<Difference> {
        for (index, command) in commands.iter().enumerate() {
            let replies = (self.left.read(), self.right.read());
            let agree = match &replies {
                (Ok(left), Ok(right)) => self.agree(command, left, right),
                _ => false,
            };
            if !agree {
                return Some(Difference { index, replies });
            }
        }
        None
    }

    fn agree(&mut self, command: &Command, left: &Value, right: &Value) -> bool {
        let is = |name: &str| command[0].eq_ignore_ascii_case(name.as_bytes());
        if *left == Value::Simple("QUEUED".into()) {
            self.queued.get_or_insert_default().push(command.clone());
            return left == right;
        }
        if is("EXEC") {
            let queued = self.queued.take().unwrap_or_default();
            return transactions_agree(&queued, left, right);
        }
        if is("DISCARD") && !left.is_error() {
            self.queued = None;
        }
        allowed(command).covers(left, right)
    }
}

fn transactions_agree(queued: &[Command], left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(lefts), Value::Array(rights)) => {
            let replies = lefts.iter().zip(rights).zip(queued);
            lefts.len() == rights.len()
                && lefts.len() == queued.len()
                && replies.into_iter().all(|((l, r), command)| allowed(command).covers(l, r))
        }
        _ => Allowed::Nothing.covers(left, right),
    }
}

fn encode_command(command: &Command) -> Vec<u8> {
    encode(command)
}
