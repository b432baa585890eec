//! Kinds of values: what a directive takes, how its text becomes a value and a value its text.
//!
//! A value has three texts. CONFIG GET gives `Value::format`. A file line holds
//! `Value::file_lines`, which may be several and writes sizes with units. Both parse back to the
//! same value; a test holds it for every directive.

use std::path::Path;

use super::file::quote;
use super::notify;
use super::output_limit::OutputLimits;
use super::reason::Reason;
use super::sizes::{format_memory, parse_octal};
use super::{bind, threads};
use crate::limits;
use crate::util::int::{parse_i64, parse_memory};

/// What a directive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A whole number.
    Int {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A size in bytes, with or without a unit.
    Memory {
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// A size, or a part of `maxmemory`: `5%`.
    MemoryOrPercent,
    /// A file mode.
    Octal {
        /// Greatest value.
        max: u32,
    },
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// Any of these words together; the first stands for none.
    Set(&'static [&'static str]),
    /// Any text.
    Text,
    /// A file name without a directory; the word is the directive's name, for the message.
    FileName(&'static str),
    /// A host name, or nothing.
    Hostname,
    /// The name of a node.
    NodeName,
    /// `id:host:port[@peer][/redirect],...`, or nothing.
    Peers,
    /// A title for the process with known variables in braces.
    Title,
    /// A directory; kept as an absolute path.
    Directory,
    /// Addresses to listen on.
    Addresses,
    /// Number of workers, or `auto` (kept as 0).
    Threads,
    /// Pairs of seconds and changes.
    Save,
    /// Limits of unsent output by class of client.
    OutputLimits,
    /// Three adjustments of the score by which the kernel kills.
    OomScoreAdj,
    /// Letters of keyspace events.
    Events,
    /// Percentages at which latencies are shown.
    Percentiles,
    /// `host port`, or nothing.
    Endpoint,
}

/// Take a snapshot after this many seconds when at least so many keys changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveRule {
    /// Seconds since the last snapshot, at least 1.
    pub seconds: i64,
    /// Changes since the last snapshot.
    pub changes: i64,
}

/// A value of one of the kinds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of `Kind::Bool`.
    Bool(bool),
    /// Of `Kind::Int`.
    Int(i64),
    /// Of `Kind::Memory` and `Kind::MemoryOrPercent`, in bytes.
    Memory(u64),
    /// Of `Kind::MemoryOrPercent`.
    Percent(u8),
    /// Of `Kind::Octal`.
    Octal(u32),
    /// Of `Kind::Choice`.
    Choice(&'static str),
    /// Of `Kind::Set`, in the order of the table.
    Set(Vec<&'static str>),
    /// Of all kinds of text.
    Text(Vec<u8>),
    /// Of `Kind::Addresses` and `Kind::Endpoint`.
    Words(Vec<Vec<u8>>),
    /// Of `Kind::Threads`; 0 stands for `auto`.
    Threads(usize),
    /// Of `Kind::Save`.
    Save(Vec<SaveRule>),
    /// Of `Kind::OutputLimits`.
    OutputLimits(OutputLimits),
    /// Of `Kind::OomScoreAdj`.
    OomScoreAdj([i32; 3]),
    /// Of `Kind::Events`: bits of `config::notify`.
    Events(u32),
    /// Of `Kind::Percentiles`, each in 0..=100.
    Percentiles(Vec<f64>),
}

impl Kind {
    /// A whole number from `min` to `max`.
    pub const fn int(min: i64, max: i64) -> Kind {
        Kind::Int { min, max }
    }

    /// A size of at least `min` bytes.
    pub const fn memory(min: u64) -> Kind {
        Kind::Memory { min, max: i64::MAX as u64 }
    }

    /// True when a line may give several arguments. Each is then cut at its spaces, so that
    /// `save "60 1"` says the same as `save 60 1`.
    pub fn takes_many(self) -> bool {
        use Kind::{Addresses, Endpoint, OomScoreAdj, OutputLimits, Percentiles, Save, Set};
        matches!(
            self,
            Addresses | Endpoint | OomScoreAdj | OutputLimits | Percentiles | Save | Set(_)
        )
    }

    /// The value that `args` describe. `current` fills in what they leave out, which only
    /// `OutputLimits` allows.
    pub fn parse(self, args: &[&[u8]], current: &Value) -> Result<Value, Reason> {
        match (self.takes_many(), args) {
            (true, [] | [b""]) => self.parse_many(&[], current),
            (true, args) => {
                let cut = args.iter().flat_map(|arg| arg.split(|byte| *byte == b' '));
                self.parse_many(&cut.collect::<Vec<_>>(), current)
            }
            (false, [one]) => self.parse_one(one),
            (false, _) => Err(Reason::Count),
        }
    }

    fn parse_one(self, text: &[u8]) -> Result<Value, Reason> {
        match self {
            Kind::Bool => parse_bool(text),
            Kind::Int { min, max } => parse_ranged(text, min, max),
            Kind::Memory { min, max } => parse_size(text, min, max),
            Kind::MemoryOrPercent => parse_size_or_percent(text),
            Kind::Octal { max } => parse_mode(text, max),
            Kind::Choice(words) => parse_choice(text, words),
            Kind::Threads => parse_threads(text),
            Kind::Events => notify::parse(text).map(Value::Events).ok_or(Reason::EventClass),
            Kind::Directory => parse_directory(text),
            _ => self.check_text(text).map(|()| Value::Text(text.to_vec())),
        }
    }

    fn check_text(self, text: &[u8]) -> Result<(), Reason> {
        let (fine, reason) = match self {
            Kind::FileName(name) => (!text.contains(&b'/'), Reason::NotFileName(name)),
            Kind::Hostname => (is_hostname(text), Reason::NotHostname),
            Kind::NodeName => (is_node_name(text), Reason::NotNodeName),
            Kind::Peers => (text.is_empty() || bind::are_peers(text), Reason::NotPeers),
            Kind::Title => (is_title(text), Reason::NotTitle),
            _ => return Ok(()),
        };
        if fine { Ok(()) } else { Err(reason) }
    }

    fn parse_many(self, args: &[&[u8]], current: &Value) -> Result<Value, Reason> {
        match self {
            Kind::Addresses => parse_addresses(args),
            Kind::Endpoint => parse_endpoint(args),
            Kind::Save => parse_save(args),
            Kind::Percentiles => parse_percentiles(args),
            Kind::OomScoreAdj => parse_oom_score_adj(args),
            Kind::Set(words) => parse_set(args, words),
            _ => {
                let limits = match current {
                    Value::OutputLimits(limits) => *limits,
                    _ => OutputLimits::default(),
                };
                limits.with(args).map(Value::OutputLimits)
            }
        }
    }

    /// What the directive takes, to follow "expected" in a message.
    pub fn expects(self) -> String {
        match self {
            Kind::Bool => "yes or no".into(),
            Kind::Int { min, max: i64::MAX } => format!("a whole number of at least {min}"),
            Kind::Int { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Memory { min: 0, .. } => "a size such as 100mb".into(),
            Kind::Memory { min, .. } => {
                format!("a size such as 100mb, at least {}", format_memory(min))
            }
            Kind::Octal { max } => format!("an octal mode from 0 to {max:o}"),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Set(words) => format!("any of {}", words.join(", ")),
            Kind::Threads => {
                format!("a whole number from 1 to {}, or auto", limits::WORKERS_MAX)
            }
            _ => self.expects_text().into(),
        }
    }

    fn expects_text(self) -> &'static str {
        match self {
            Kind::MemoryOrPercent => "a size such as 100mb, or a percentage of maxmemory",
            Kind::FileName(_) => "a file name without a directory",
            Kind::Hostname => "a host name",
            Kind::NodeName => "a name of letters, digits, '.', '_' and '-'",
            Kind::Peers => "id:host:port[@peer][/redirect], separated by commas",
            Kind::Title => "a title with {variables}",
            Kind::Directory => "a directory",
            Kind::Addresses => {
                "at most 16 addresses or host names; '-' before one makes it optional"
            }
            Kind::Save => "pairs of seconds (at least 1) and changes, or \"\" for none",
            Kind::OutputLimits => "<normal|replica|pubsub> <hard> <soft> <soft seconds>, repeated",
            Kind::OomScoreAdj => "three whole numbers from -2000 to 2000",
            Kind::Events => "letters of \"Ag$lshzxeKEtmdn\"",
            Kind::Percentiles => "percentages from 0 to 100",
            Kind::Endpoint => "<host> <port>",
            _ => "a text",
        }
    }
}

impl Value {
    /// The text that CONFIG GET gives back.
    pub fn format(&self) -> Vec<u8> {
        match self {
            Value::Text(text) => text.clone(),
            Value::Words(words) => words.join(&b' '),
            other => other.format_ascii().into_bytes(),
        }
    }

    fn format_ascii(&self) -> String {
        match self {
            Value::Bool(on) => yes_no(*on).into(),
            Value::Int(number) => number.to_string(),
            Value::Memory(bytes) => bytes.to_string(),
            Value::Percent(part) => format!("{part}%"),
            Value::Octal(mode) => format!("{mode:o}"),
            Value::Choice(word) => (*word).into(),
            Value::Set(words) => words.join(" "),
            Value::Threads(0) => threads::AUTO.into(),
            Value::Threads(count) => count.to_string(),
            Value::Save(rules) => join(rules, |rule| format!("{} {}", rule.seconds, rule.changes)),
            Value::OutputLimits(limits) => limits.format(),
            Value::OomScoreAdj(values) => join(values, i32::to_string),
            Value::Events(bits) => notify::format(*bits),
            Value::Percentiles(values) => join(values, |value| format_percentile(*value)),
            Value::Text(_) | Value::Words(_) => String::new(),
        }
    }

    /// The arguments of the lines that a file needs to say this value; at least one line.
    pub fn file_lines(&self) -> Vec<String> {
        match self {
            Value::Memory(bytes) => vec![format_memory(*bytes)],
            Value::OutputLimits(limits) => limits.lines(),
            Value::Save(rules) if !rules.is_empty() => {
                rules.iter().map(|rule| format!("{} {}", rule.seconds, rule.changes)).collect()
            }
            Value::Words(words) if !words.is_empty() => vec![join(words, |word| quote(word))],
            Value::Set(_) | Value::OomScoreAdj(_) => vec![self.format_ascii()],
            Value::Percentiles(values) if !values.is_empty() => vec![self.format_ascii()],
            _ => vec![quote(&self.format())],
        }
    }
}

/// `yes` or `no`.
pub fn yes_no(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

fn join<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn parse_bool(text: &[u8]) -> Result<Value, Reason> {
    if text.eq_ignore_ascii_case(b"yes") {
        Ok(Value::Bool(true))
    } else if text.eq_ignore_ascii_case(b"no") {
        Ok(Value::Bool(false))
    } else {
        Err(Reason::NotBool)
    }
}

fn check_range(number: i128, min: i128, max: i128) -> Result<(), Reason> {
    if (min..=max).contains(&number) { Ok(()) } else { Err(Reason::OutOfRange { min, max }) }
}

fn parse_ranged(text: &[u8], min: i64, max: i64) -> Result<Value, Reason> {
    let number = parse_i64(text).ok_or(Reason::NotInteger)?;
    check_range(number.into(), min.into(), max.into())?;
    Ok(Value::Int(number))
}

fn parse_size(text: &[u8], min: u64, max: u64) -> Result<Value, Reason> {
    let bytes = parse_memory(text).ok_or(Reason::NotMemory)?;
    check_range(bytes.into(), min.into(), max.into())?;
    Ok(Value::Memory(bytes))
}

fn parse_size_or_percent(text: &[u8]) -> Result<Value, Reason> {
    let Some(percent) = text.strip_suffix(b"%") else {
        return parse_memory(text).map(Value::Memory).ok_or(Reason::NotMemoryOrPercent);
    };
    match parse_i64(percent).filter(|part| *part >= 0).map(u8::try_from) {
        Some(Ok(part @ 0..=100)) => Ok(Value::Percent(part)),
        Some(_) => Err(Reason::PercentTooLarge),
        None => Err(Reason::NotMemoryOrPercent),
    }
}

fn parse_mode(text: &[u8], max: u32) -> Result<Value, Reason> {
    let mode = parse_octal(text).ok_or(Reason::NotOctal)?;
    check_range(mode.into(), 0, max.into())?;
    Ok(Value::Octal(mode))
}

fn parse_choice(text: &[u8], words: &'static [&'static str]) -> Result<Value, Reason> {
    find_word(text, words).map(Value::Choice).ok_or(Reason::NotOneOf(words))
}

fn find_word(text: &[u8], words: &'static [&'static str]) -> Option<&'static str> {
    words.iter().copied().find(|word| text.eq_ignore_ascii_case(word.as_bytes()))
}

fn parse_threads(text: &[u8]) -> Result<Value, Reason> {
    if text.eq_ignore_ascii_case(threads::AUTO.as_bytes()) {
        return Ok(Value::Threads(0));
    }
    let count = parse_i64(text).ok_or(Reason::NotInteger)?;
    check_range(count.into(), 1, limits::WORKERS_MAX as i128)?;
    Ok(Value::Threads(count as usize))
}

fn parse_directory(text: &[u8]) -> Result<Value, Reason> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let path = Path::new(std::ffi::OsStr::from_bytes(text));
    let absolute = std::path::absolute(path).map_err(|error| match text {
        [] => Reason::Directory(std::io::ErrorKind::NotFound),
        _ => Reason::Directory(error.kind()),
    })?;
    Ok(Value::Text(absolute.into_os_string().into_vec()))
}

fn parse_addresses(args: &[&[u8]]) -> Result<Value, Reason> {
    if args.len() > limits::BIND_ADDRESSES_MAX {
        return Err(Reason::TooManyAddresses);
    }
    let words = args.iter().filter(|word| !word.is_empty()).map(|word| word.to_vec());
    Ok(Value::Words(words.collect()))
}

fn parse_endpoint(args: &[&[u8]]) -> Result<Value, Reason> {
    match args {
        [] => {}
        [_, port] => {
            let port = parse_i64(port).ok_or(Reason::NotInteger)?;
            check_range(port.into(), 0, 65_535)?;
        }
        _ => return Err(Reason::Count),
    }
    Ok(Value::Words(args.iter().map(|word| word.to_vec()).collect()))
}

fn parse_save(args: &[&[u8]]) -> Result<Value, Reason> {
    let (pairs, rest) = args.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Reason::SaveRule);
    }
    let rule = |[seconds, changes]: &[&[u8]; 2]| {
        let seconds = parse_i64(seconds).filter(|seconds| *seconds >= 1)?;
        let changes = parse_i64(changes).filter(|changes| *changes >= 0)?;
        Some(SaveRule { seconds, changes })
    };
    let rules: Option<Vec<SaveRule>> = pairs.iter().map(rule).collect();
    rules.map(Value::Save).ok_or(Reason::SaveRule)
}

fn parse_percentiles(args: &[&[u8]]) -> Result<Value, Reason> {
    let mut values = Vec::with_capacity(args.len());
    for arg in args {
        let text = std::str::from_utf8(arg).map_err(|_| Reason::NotPercentile)?;
        let value: f64 = text.parse().map_err(|_| Reason::NotPercentile)?;
        if !(0.0..=100.0).contains(&value) {
            return Err(Reason::PercentileRange);
        }
        // What is kept is what is shown, so that a value given back is the value that was set.
        let shown = format_percentile(value);
        values.push(shown.parse().map_err(|_| Reason::NotPercentile)?);
    }
    Ok(Value::Percentiles(values))
}

/// Six decimals without their trailing zeros.
fn format_percentile(value: f64) -> String {
    // Adding zero turns -0 into 0.
    let text = format!("{:.6}", value + 0.0);
    text.trim_end_matches('0').trim_end_matches('.').into()
}

fn parse_oom_score_adj(args: &[&[u8]]) -> Result<Value, Reason> {
    let args: &[&[u8]; 3] = args.try_into().map_err(|_| Reason::Count)?;
    let mut values = [0; 3];
    for (value, arg) in values.iter_mut().zip(args) {
        let number = parse_i64(arg).filter(|number| (-2000..=2000).contains(number));
        *value = number.ok_or(Reason::OomScoreAdj)? as i32;
    }
    Ok(Value::OomScoreAdj(values))
}

/// The words of `args`; the first of the table, which stands for none, gives way to any other.
fn parse_set(args: &[&[u8]], words: &'static [&'static str]) -> Result<Value, Reason> {
    let mut chosen = Vec::new();
    for arg in args {
        chosen.push(find_word(arg, words).ok_or(Reason::NotOneOf(words))?);
    }
    if chosen.is_empty() {
        return Err(Reason::NotOneOf(words));
    }
    if chosen.contains(&"save") && chosen.contains(&"nosave") {
        return Err(Reason::SaveAndNosave);
    }
    let more = chosen.iter().any(|word| *word != words[0]);
    let kept = words.iter().copied().filter(|word| chosen.contains(word));
    Ok(Value::Set(kept.filter(|word| !more || *word != words[0]).collect()))
}

fn is_hostname(text: &[u8]) -> bool {
    text.len() <= 255
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(byte))
}

fn is_node_name(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

fn is_title(text: &[u8]) -> bool {
    const VARIABLES: [&[u8]; 7] = [
        b"title",
        b"listen-addr",
        b"server-mode",
        b"port",
        b"tls-port",
        b"unixsocket",
        b"config-file",
    ];
    let mut rest = text;
    while let Some(open) = rest.iter().position(|byte| *byte == b'{') {
        rest = &rest[open + 1..];
        let Some(close) = rest.iter().position(|byte| *byte == b'}') else { return false };
        if !VARIABLES.contains(&&rest[..close]) {
            return false;
        }
        rest = &rest[close + 1..];
    }
    true
}
