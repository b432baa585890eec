//! Runs one script against one server.

use crate::common::server::Server;
use crate::common::value::Value;
use crate::common::wire::{Client, WireError, encode};
use crate::expect::Expect;
use crate::script::{Action, Script, Step};
use std::collections::HashMap;
use std::time::Duration;

/// Mismatches told for one script; what follows the first ones seldom tells more.
const FAILURES_MAX: usize = 12;

/// Replies that may stay out before the rest is given up: each is waited for in vain.
const TIMEOUTS_MAX: usize = 2;

/// How a script went.
pub struct Outcome {
    /// Each mismatch: line, expected, got.
    pub failures: Vec<String>,
    /// The script with the server's replies where they did not match.
    pub rewritten: String,
}

/// Plays the script from its first line to its last, mismatches or not.
pub fn run(script: &Script, server: &Server) -> Outcome {
    let mut player = Player {
        server,
        clients: HashMap::new(),
        current: 1,
        last: Value::Null,
        names: HashMap::new(),
    };
    let mut failures = Vec::new();
    let mut rewritten = String::new();
    let mut copied = 0;
    let mut timeouts = 0;
    for step in &script.steps {
        let Some(reply) = player.play(&step.action) else { continue };
        let expected = script.lines[step.expected.clone()].join("\n");
        copy_lines(script, copied..step.expected.start, &mut rewritten);
        copied = step.expected.end;
        match mismatch(&expected, &reply) {
            None => copy_lines(script, step.expected.clone(), &mut rewritten),
            Some(why) => {
                rewritten += &(show(&reply) + "\n");
                failures.push(told(script, step, &expected, &reply, &why));
            }
        }
        timeouts += usize::from(matches!(reply, Err(WireError::Timeout)));
        let hopeless = failures.len() > FAILURES_MAX || timeouts > TIMEOUTS_MAX;
        if hopeless && std::env::var_os("REWRITE").is_none() {
            failures.push("  ... and perhaps more".into());
            break;
        }
    }
    copy_lines(script, copied..script.lines.len(), &mut rewritten);
    Outcome { failures, rewritten }
}

fn copy_lines(script: &Script, lines: std::ops::Range<usize>, into: &mut String) {
    for line in &script.lines[lines] {
        *into += line;
        into.push('\n');
    }
}

/// Why the reply is not the expected one; `None` if it is.
fn mismatch(expected: &str, reply: &Result<Value, WireError>) -> Option<String> {
    if expected.is_empty() {
        return Some("no reply is written down".into());
    }
    match Expect::parse(expected) {
        Err(why) => Some(why),
        Ok(expect) => (!expect.matches(reply)).then(String::new),
    }
}

fn show(reply: &Result<Value, WireError>) -> String {
    match reply {
        Ok(value) => value.pretty(),
        Err(error) => error.to_string(),
    }
}

fn told(
    script: &Script,
    step: &Step,
    expected: &str,
    reply: &Result<Value, WireError>,
    why: &str,
) -> String {
    let got = show(reply);
    let indent = |text: &str| text.replace('\n', "\n              ");
    format!(
        "  line {:4}: {}\n    expected: {}\n    got:      {}{}{}",
        step.line + 1,
        script.lines[step.line],
        indent(expected),
        indent(&got),
        if why.is_empty() { "" } else { "\n    " },
        why
    )
}

struct Player<'a> {
    server: &'a Server,
    clients: HashMap<u32, Client>,
    current: u32,
    last: Value,
    names: HashMap<String, Vec<u8>>,
}

impl Player<'_> {
    /// Does the step; gives the reply if it has one.
    fn play(&mut self, action: &Action) -> Option<Result<Value, WireError>> {
        match action {
            Action::Command(arguments) => {
                let request = self.request(arguments);
                self.client().send(&request);
            }
            Action::Send(arguments) => {
                let request = self.request(arguments);
                self.client().send(&request);
                return None;
            }
            Action::Raw(bytes) => drop(self.client().send(bytes)),
            Action::Read => {}
            quiet => {
                self.arrange(quiet);
                return None;
            }
        }
        let reply = self.client().read();
        self.last = reply.clone().unwrap_or(Value::Null);
        Some(reply)
    }

    /// The steps that are no exchange.
    fn arrange(&mut self, action: &Action) {
        match action {
            Action::SendRaw(bytes) => drop(self.client().send(bytes)),
            Action::Connection(number) => {
                self.current = *number;
                self.client();
            }
            Action::Resp3 => drop(self.client().call(&["HELLO", "3"])),
            Action::Sleep(ms) => std::thread::sleep(Duration::from_millis(*ms)),
            Action::Let(name) => {
                let value = match &self.last {
                    Value::Int(number) => number.to_string().into_bytes(),
                    value => value.text().unwrap_or_default().to_vec(),
                };
                self.names.insert(name.clone(), value);
            }
            Action::HalfClose => self.client().finish_sending(),
            _ => drop(self.clients.remove(&self.current)),
        }
    }

    fn client(&mut self) -> &mut Client {
        let server = self.server;
        self.clients.entry(self.current).or_insert_with(|| server.client())
    }

    fn request(&self, arguments: &[Vec<u8>]) -> Vec<u8> {
        let known = arguments.iter().map(|argument| {
            let name = argument.strip_prefix(b"$").map(String::from_utf8_lossy);
            name.and_then(|name| self.names.get(name.as_ref())).unwrap_or(argument)
        });
        encode(&known.collect::<Vec<_>>())
    }
}
