//! Clients that ask at random and note what they were told.
//!
//! Each thread has one connection, to the main or the redirect port of some node, and goes to
//! another one when it is lost or has been used for a while. Half of them send several requests at
//! once. An object is one key (accounts: four keys of one slot), of a kind by its number.

use crate::common::random::Random;
use crate::common::value::Value;
use crate::common::wire::{Client, WireError, encode};
use crate::judge::{End, Kind, Op, State, pair, pushed};
use crate::world::{NODES, address, redirect_address};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Objects of one round.
pub const OBJECTS: u32 = 240;
/// Kinds of objects: registers, counters, sets, lists, accounts.
const KINDS: u32 = 5;
const PIPELINE_MAX: usize = 8;
/// Requests of a connection before another one is made.
const USES_MAX: usize = 400;
const HOPS_MAX: usize = 6;
/// A deadline far beyond the end, which no clock that is set may bring near.
const FAR_SECONDS: &str = "3000";
/// So that no value means "none" or "done".
const FIRST_VALUE: u64 = 1000;

/// What all clients share.
pub struct Ground {
    began: Instant,
    /// Unique numbers, for values and for the names of requests.
    values: AtomicU64,
    pub stop: AtomicBool,
}

impl Ground {
    pub fn new() -> Ground {
        Ground {
            began: Instant::now(),
            values: AtomicU64::new(FIRST_VALUE),
            stop: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed)
    }
}

/// What one client was told.
#[derive(Default)]
pub struct Told {
    pub ops: Vec<Op>,
    /// Errors by their first word, and connections that ended while something was under way.
    pub errors: BTreeMap<String, u64>,
    /// Replies that no server may give.
    pub wrong: Vec<String>,
}

impl Told {
    pub fn add(&mut self, mut other: Told) {
        self.ops.append(&mut other.ops);
        self.wrong.append(&mut other.wrong);
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }

    fn error(&mut self, text: &str) {
        let word = text.split(' ').next().unwrap_or_default();
        *self.errors.entry(word.to_string()).or_default() += 1;
    }
}

/// A request that is to be sent: its commands, of which the last one's reply counts.
struct Request {
    id: u64,
    /// The request for the same object in front of it.
    behind: u64,
    object: u32,
    kind: Kind,
    commands: Vec<Vec<String>>,
}

/// What became of it.
enum Reply {
    Got(State),
    Moved(SocketAddr),
    NotApplied,
    Unknown,
    /// The connection ended without it.
    Lost,
    Wrong(String),
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_string).collect()
}

fn key(round: u64, object: u32) -> String {
    format!("{{n{round}:{object}}}")
}

fn request(round: u64, object: u32, kind: Kind, random: &mut Random) -> Request {
    let key = key(round, object);
    let far = if random.chance(25) { format!(" EX {FAR_SECONDS}") } else { String::new() };
    let lines = match kind {
        Kind::Set(value) => vec![format!("SET {key} {value}{far}")],
        Kind::SetGet(value) => vec![format!("SET {key} {value} GET{far}")],
        Kind::Take => vec![format!("GETDEL {key}")],
        Kind::Swap { new, .. } => {
            vec!["MULTI".into(), format!("SET {key} {new}"), "EXEC".into()]
        }
        Kind::Add(1) => vec![format!("INCR {key}")],
        Kind::Add(more) => vec![format!("INCRBY {key} {more}")],
        Kind::Insert(at) => vec![format!("SADD {key} {at}")],
        Kind::Remove(at) => vec![format!("SREM {key} {at}")],
        Kind::Push(value) => vec![format!("RPUSH {key} {value}")],
        Kind::Move { from, to, amount } => vec![
            "MULTI".into(),
            format!("DECRBY {key}{from} {amount}"),
            format!("INCRBY {key}{to} {amount}"),
            "EXEC".into(),
        ],
        Kind::Read => vec![match object % KINDS {
            0 | 1 => format!("GET {key}"),
            2 => format!("SMEMBERS {key}"),
            3 => format!("LRANGE {key} 0 -1"),
            _ => format!("MGET {key}0 {key}1 {key}2 {key}3"),
        }],
    };
    let commands = lines.iter().map(|line| words(line)).collect();
    Request { id: 0, behind: 0, object, kind, commands }
}

fn draw(object: u32, ground: &Ground, random: &mut Random) -> Kind {
    let dice = random.below(100);
    match object % KINDS {
        0 if dice < 35 => Kind::Set(ground.value()),
        0 if dice < 45 => Kind::SetGet(ground.value()),
        0 if dice < 50 => Kind::Take,
        1 if dice < 40 => Kind::Add(1),
        1 if dice < 60 => Kind::Add(2 + random.below(5) as u32),
        2 if dice < 35 => Kind::Insert(random.below(12) as u8),
        2 if dice < 60 => Kind::Remove(random.below(12) as u8),
        3 if dice < 45 => Kind::Push(ground.value()),
        4 if dice < 50 => {
            let from = random.below(4) as u8;
            let to = (from + 1 + random.below(3) as u8) % 4;
            Kind::Move { from, to, amount: 1 + random.below(9) as u16 }
        }
        _ => Kind::Read,
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::NilBulk => Some(0),
        value => std::str::from_utf8(value.text()?).ok()?.parse().ok(),
    }
}

fn signed(value: &Value) -> Option<i16> {
    match value {
        Value::Int(number) => i16::try_from(*number).ok(),
        Value::NilBulk => Some(0),
        value => std::str::from_utf8(value.text()?).ok()?.parse().ok(),
    }
}

/// An answer in the form in which it is judged; `None` if it is none.
fn answer(object: u32, kind: Kind, value: &Value) -> Option<State> {
    Some(match kind {
        Kind::Set(_) => (*value == Value::Simple(b"OK".to_vec())).then_some(0)?,
        Kind::Swap { .. } => match value {
            Value::NilArray => 0,
            Value::Array(replies) if replies.len() == 1 => 1,
            _ => return None,
        },
        Kind::Move { .. } => match value.elements()? {
            [from, to] => pair(signed(from)?, signed(to)?),
            _ => return None,
        },
        Kind::Read if object % KINDS == 2 => {
            value.elements()?.iter().try_fold(0, |set, member| Some(set | 1 << number(member)?))?
        }
        Kind::Read if object % KINDS == 3 => value
            .elements()?
            .iter()
            .try_fold(0, |list, element| Some(pushed(list, number(element)?)))?,
        Kind::Read if object % KINDS == 4 => {
            let balances = value.elements()?.iter().rev();
            balances
                .map(signed)
                .try_fold(0, |all, one| Some(all << 16 | u128::from(one? as u16)))?
        }
        _ => number(value)?.into(),
    })
}

fn judge_reply(request: &Request, value: &Value, told: &mut Told) -> Reply {
    let Value::Error(text) = value else {
        return match answer(request.object, request.kind, value) {
            Some(got) => Reply::Got(got),
            None => Reply::Wrong(format!("{:?}: {}", request.kind, value.pretty())),
        };
    };
    let text = String::from_utf8_lossy(text).into_owned();
    if let Some(address) = text.strip_prefix("MOVED ").and_then(|rest| rest.split(' ').nth(1)) {
        return match address.parse() {
            Ok(address) => Reply::Moved(address),
            Err(_) => Reply::Wrong(text),
        };
    }
    told.error(&text);
    match text.split(' ').next() {
        Some("TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "EXECABORT") => Reply::NotApplied,
        Some("UNCERTAIN") => Reply::Unknown,
        _ => Reply::Wrong(format!("{:?}: {text}", request.kind)),
    }
}

struct Worker<'a> {
    ground: &'a Ground,
    random: Random,
    round: u64,
    told: Told,
    client: Option<Client>,
    /// Connections to where other requests were sent on to.
    others: HashMap<SocketAddr, Client>,
    uses: usize,
}

/// Asks until the ground says to stop.
pub fn work(ground: &Ground, round: u64, seed: u64, is_pipelined: bool) -> Told {
    let mut worker = Worker {
        ground,
        random: Random::new(seed),
        round,
        told: Told::default(),
        client: None,
        others: HashMap::new(),
        uses: 0,
    };
    // Relaxed: it stops soon, which is all that is wanted.
    while !ground.stop.load(Ordering::Relaxed) {
        worker.turn(is_pipelined);
    }
    worker.told
}

impl Worker<'_> {
    fn turn(&mut self, is_pipelined: bool) {
        self.uses += 1;
        if self.client.is_none() || self.uses > USES_MAX {
            self.uses = 0;
            self.others.clear();
            let at = self.random.below(NODES);
            let address = if self.random.chance(50) { address(at) } else { redirect_address(at) };
            self.client = Client::connect(address).ok();
            if self.client.is_none() {
                std::thread::sleep(Duration::from_millis(5));
                return;
            }
        }
        let object = self.random.below(OBJECTS as usize) as u32;
        if !is_pipelined && object.is_multiple_of(KINDS) && self.random.chance(20) {
            return self.swap(object);
        }
        let count = if is_pipelined { 1 + self.random.below(PIPELINE_MAX) } else { 1 };
        let mut requests = Vec::with_capacity(count);
        for _ in 0..count {
            let object = self.random.below(OBJECTS as usize) as u32;
            let kind = draw(object, self.ground, &mut self.random);
            requests.push(request(self.round, object, kind, &mut self.random));
        }
        self.ask(requests);
    }

    /// Sends requests at once, and notes what became of each.
    fn ask(&mut self, mut requests: Vec<Request>) {
        let Some(mut client) = self.client.take() else { return };
        let mut last: HashMap<u32, u64> = HashMap::new();
        for request in &mut requests {
            request.id = self.ground.value();
            request.behind = last.insert(request.object, request.id).unwrap_or_default();
        }
        let began = self.ground.now();
        client.send(&spelled(&requests));
        let mut is_open = true;
        let mut moved: Vec<(Request, SocketAddr)> = Vec::new();
        for mut request in requests {
            // What is sent elsewhere has no order with what was not.
            if moved.iter().any(|(before, _)| before.id == request.behind) {
                request.behind = 0;
            }
            let reply = match is_open {
                true => self.read(&mut client, &request),
                false => Reply::Lost,
            };
            if let Reply::Moved(address) = reply {
                moved.push((request, address));
                continue;
            }
            is_open &= self.note(&request, began, reply);
        }
        if is_open {
            self.client = Some(client);
        }
        if self.told.ops.last().is_some_and(|op| op.end == End::NotApplied) {
            // Else most requests of a round are refusals.
            std::thread::sleep(Duration::from_millis(3));
        }
        for (mut request, address) in moved {
            request.behind = 0;
            self.follow(request, began, address);
        }
    }

    /// Reads the replies to one request. The last one counts, or the first that sends it elsewhere.
    fn read(&mut self, client: &mut Client, request: &Request) -> Reply {
        let sends_on =
            |value: &Value| matches!(value, Value::Error(text) if text.starts_with(b"MOVED "));
        let mut last = Err(WireError::Closed);
        for _ in &request.commands {
            let next = client.read();
            let is_over = next.is_err();
            if is_over || !last.as_ref().is_ok_and(sends_on) {
                last = next;
            }
            if is_over {
                break;
            }
        }
        match last {
            Ok(value) => judge_reply(request, &value, &mut self.told),
            Err(WireError::Malformed(what)) => Reply::Wrong(format!("malformed: {what}")),
            Err(error) => {
                self.told.error(if error == WireError::Closed { "closed" } else { "timeout" });
                Reply::Lost
            }
        }
    }

    /// Goes where a request was sent on to. It was not executed where it was.
    fn follow(&mut self, request: Request, began: u64, mut address: SocketAddr) {
        for _ in 0..HOPS_MAX {
            let known = self.others.remove(&address);
            let Some(mut client) = known.or_else(|| Client::connect(address).ok()) else { break };
            client.send(&spelled(std::slice::from_ref(&request)));
            let reply = self.read(&mut client, &request);
            let next = if let Reply::Moved(next) = reply { Some(next) } else { None };
            if next.is_some() || self.note(&request, began, reply) {
                self.others.insert(address, client);
            }
            let Some(next) = next else { return };
            address = next;
            std::thread::sleep(Duration::from_millis(2));
        }
        self.note(&request, began, Reply::NotApplied);
    }

    /// Notes what became of a request; false if the connection is of no more use.
    fn note(&mut self, request: &Request, began: u64, reply: Reply) -> bool {
        let (end, is_open) = match reply {
            Reply::Got(got) => (End::Answered { at: self.ground.now(), got }, true),
            Reply::NotApplied => (End::NotApplied, true),
            Reply::Unknown => (End::Open, true),
            Reply::Lost | Reply::Moved(_) => (End::Open, false),
            Reply::Wrong(what) => {
                self.told.wrong.push(what);
                (End::Open, false)
            }
        };
        let Request { id, behind, object, kind, .. } = *request;
        self.told.ops.push(Op { id, behind, object, kind, began, end });
        is_open
    }

    /// Watches, reads, and writes in a transaction. It gives up where it is sent elsewhere.
    fn swap(&mut self, object: u32) {
        let Some(mut client) = self.client.take() else { return };
        let key = key(self.round, object);
        if !matches!(client.call(&["WATCH", &key]), Ok(Value::Simple(_))) {
            return;
        }
        let began = self.ground.now();
        let read = request(self.round, object, Kind::Read, &mut self.random);
        client.send(&spelled(std::slice::from_ref(&read)));
        let reply = self.read(&mut client, &read);
        let Reply::Got(old) = reply else { return };
        self.note(&read, began, Reply::Got(old));
        let kind = Kind::Swap { old: old as u64, new: self.ground.value() };
        let request = request(self.round, object, kind, &mut self.random);
        let began = self.ground.now();
        client.send(&spelled(std::slice::from_ref(&request)));
        let reply = match self.read(&mut client, &request) {
            // It was told where the key is, and nothing was done here.
            Reply::Moved(_) => Reply::NotApplied,
            reply => reply,
        };
        let was_done = matches!(reply, Reply::Got(_));
        if self.note(&request, began, reply) && was_done {
            self.client = Some(client);
        }
    }
}

fn spelled(requests: &[Request]) -> Vec<u8> {
    requests.iter().flat_map(|request| &request.commands).flat_map(|words| encode(words)).collect()
}

/// Reads every object through a node, as one client behind all others.
pub fn read_all(ground: &Ground, round: u64, at: usize, most: Duration) -> Told {
    let mut worker = Worker {
        ground,
        random: Random::new(0),
        round,
        told: Told::default(),
        client: None,
        others: HashMap::new(),
        uses: 0,
    };
    let until = Instant::now() + most;
    for object in 0..OBJECTS {
        loop {
            if worker.client.is_none() {
                worker.client = Client::connect(address(at)).ok();
            }
            let kind = Kind::Read;
            worker.ask(vec![request(round, object, kind, &mut Random::new(0))]);
            let is_answered =
                |op: &Op| op.object == object && matches!(op.end, End::Answered { .. });
            if worker.told.ops.last().is_some_and(is_answered) {
                break;
            }
            if Instant::now() > until {
                let what = format!("object {object} cannot be read at node-{}", at + 1);
                worker.told.wrong.push(what);
                return worker.told;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    worker.told
}
