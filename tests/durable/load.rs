//! Load on a server that will be killed, and the look at what is left.

use super::model::{self, History, State, Stored};
use crate::common::server::Server;
use crate::common::value::Value;
use crate::common::wire::{Client, encode};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::JoinHandle;

/// Operations that a connection has sent and not yet seen answered, at most.
pub const DEPTHS: [u64; 6] = [1, 1, 1, 16, 16, 16];

/// Connections at work; they stop when the server is gone.
pub struct Load {
    threads: Vec<JoinHandle<Result<History, String>>>,
}

impl Load {
    /// Starts connections with the numbers from `first` on.
    pub fn start(address: SocketAddr, first: u64) -> Load {
        Load::spawn(address, first, false)
    }

    /// As [`Load::start`], but a connection stops when the server says that the log cannot be
    /// written: what it answers so may be there later or not.
    pub fn start_on_failing_disk(address: SocketAddr, first: u64) -> Load {
        Load::spawn(address, first, true)
    }

    fn spawn(address: SocketAddr, first: u64, disk_fails: bool) -> Load {
        let numbered = (first..).zip(DEPTHS);
        let spawn =
            |(number, depth)| std::thread::spawn(move || work(address, number, depth, disk_fails));
        Load { threads: numbered.map(spawn).collect() }
    }

    /// What the connections did. To be called once the server is dead.
    pub fn finish(self) -> Result<Vec<History>, String> {
        let join = |thread: JoinHandle<_>| thread.join().map_err(|_| "a client panicked")?;
        self.threads.into_iter().map(join).collect()
    }
}

fn work(
    address: SocketAddr,
    connection: u64,
    depth: u64,
    disk_fails: bool,
) -> Result<History, String> {
    let mut history = History::new(connection);
    let Ok(mut client) = Client::connect(address) else { return Ok(history) };
    loop {
        let first = history.sent;
        let mut bytes = Vec::new();
        let mut lengths = Vec::new();
        for number in first..first + depth {
            let commands = model::commands(connection, number);
            lengths.push(commands.len());
            commands.iter().for_each(|command| bytes.extend(encode(command)));
        }
        history.sent += depth;
        if !client.send(&bytes) {
            return Ok(history);
        }
        for length in lengths {
            let replies: Result<Vec<Value>, _> = (0..length).map(|_| client.read()).collect();
            let Ok(replies) = replies else { return Ok(history) };
            let failed = |reply: &Value| match reply {
                Value::Error(text) => {
                    text.starts_with(b"MISCONF") || text.starts_with(b"EXECABORT")
                }
                _ => false,
            };
            if disk_fails && replies.iter().any(failed) {
                return Ok(history);
            }
            history.acknowledge(&replies)?;
        }
    }
}

/// The values of `keys`.
pub fn look(client: &mut Client, keys: &[String]) -> Result<State, String> {
    let mut state = State::new();
    for some in keys.chunks(100) {
        let mut types = Vec::new();
        some.iter().for_each(|key| types.extend(encode(&["TYPE", key])));
        client.send(&types);
        let types: Result<Vec<Value>, _> = some.iter().map(|_| client.read()).collect();
        for (key, kind) in some.iter().zip(types.map_err(|error| error.to_string())?) {
            if let Some(stored) = value(client, key, kind.text().unwrap_or_default())? {
                state.insert(key.clone(), stored);
            }
        }
    }
    Ok(state)
}

fn value(client: &mut Client, key: &str, kind: &[u8]) -> Result<Option<Stored>, String> {
    let mut call = |command: &[&str]| client.call(command).map_err(|error| error.to_string());
    Ok(Some(match kind {
        b"none" => return Ok(None),
        b"string" => {
            let text = call(&["GET", key])?.text().unwrap_or_default().to_vec();
            let deadline = match call(&["PEXPIRETIME", key])? {
                Value::Int(at) => u64::try_from(at).ok(),
                other => return Err(other.pretty()),
            };
            Stored::Text(text, deadline)
        }
        b"list" => Stored::List(numbers(&call(&["LRANGE", key, "0", "-1"])?)?),
        b"set" => Stored::Set(numbers(&call(&["SMEMBERS", key])?)?.into_iter().collect()),
        other => return Err(format!("{key} is a {}", String::from_utf8_lossy(other))),
    }))
}

fn numbers(value: &Value) -> Result<Vec<u64>, String> {
    let number = |item: &Value| std::str::from_utf8(item.text()?).ok()?.parse().ok();
    let items = value.elements().ok_or_else(|| value.pretty())?;
    let parsed: Option<Vec<u64>> = items.iter().map(number).collect();
    parsed.ok_or_else(|| value.pretty())
}

/// What earlier rounds left: keys whose values are known exactly.
#[derive(Default)]
pub struct Settled {
    state: State,
    /// The counter that all connections share.
    shared: u64,
}

impl Settled {
    /// Keys that are known.
    pub fn len(&self) -> usize {
        self.state.len()
    }

    /// Everything is gone, and the server has said so.
    pub fn clear(&mut self) {
        *self = Settled::default();
    }

    /// Compares the server with what these connections did, and with what is settled; then all
    /// of it is settled.
    pub fn verify(&mut self, server: &Server, histories: &[History]) -> Result<(), String> {
        let mut client = server.client();
        let keys: Vec<String> = self.state.keys().cloned().collect();
        let found = look(&mut client, &keys)?;
        if let Some((key, old)) = self.state.iter().find(|(key, old)| found.get(*key) != Some(old))
        {
            let now = found.get(key);
            return Err(format!("{key} was {old:?} after an earlier round, and is {now:?}"));
        }
        let mut shares = BTreeMap::new();
        for history in histories {
            let found = look(&mut client, &model::keys(history.connection))?;
            history.explain(&found)?;
            shares.insert(history.connection, count(found.get(&share_key(history.connection))));
            self.state.extend(found);
        }
        self.verify_shared(&mut client, shares.values().sum())
    }

    /// The shared counter is the sum of what each connection added to it.
    fn verify_shared(&mut self, client: &mut Client, more: u64) -> Result<(), String> {
        let found = look(client, &[model::SHARED.to_string()])?;
        let shared = count(found.get(model::SHARED));
        let want = self.shared + more;
        self.shared = want;
        if shared == want { Ok(()) } else { Err(format!("shared is {shared} and not {want}")) }
    }
}

fn share_key(connection: u64) -> String {
    format!("shares:{connection}")
}

fn count(stored: Option<&Stored>) -> u64 {
    match stored {
        Some(Stored::Text(text, _)) => {
            std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
        }
        _ => 0,
    }
}
