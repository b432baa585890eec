//! What the command line asks for, checked and put together.
//!
//! `cli` has the words; here they become values that can be run.

use super::client::target::{Place, Target};
use super::error::BenchError;
use super::report::document::Shape;
use crate::limits::{BENCH_CLIENTS_MAX, BENCH_PIPELINE_MAX, BENCH_RUNS_MAX, STRING_LEN_MAX};
use clap::ArgMatches;
use clap::parser::ValueSource;
use std::path::PathBuf;
use std::time::Duration;

/// How servers are loaded, and what becomes of the results.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who is measured; the first is the base of ratios.
    pub targets: Vec<Target>,
    /// The loads' shapes, in order.
    pub shapes: Vec<Shape>,
    /// What is sent.
    pub load: Load,
    /// Requests of a run, or its time.
    pub amount: super::client::run::Amount,
    /// How long a run goes on before it counts.
    pub warmup: Duration,
    /// Runs of each load on each server.
    pub rounds: usize,
    /// Exponent of a Zipf distribution of keys.
    pub zipf: Option<f64>,
    /// Check every reply.
    pub verify: bool,
    /// What names of keys begin with when replies are checked.
    pub prefix: String,
    /// Write the whole key space first.
    pub preload: bool,
    /// Connections lead to all nodes of a cluster.
    pub cluster: bool,
    /// Connect anew for each batch.
    pub reconnect: bool,
    /// Processors of the client.
    pub cpus: Vec<usize>,
    /// Where chance begins.
    pub seed: u64,
    /// Begin again when done.
    pub forever: bool,
    /// A server that answers nothing for so long has failed.
    pub silence: Duration,
    /// Where results go.
    pub output: Output,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// The tests of this `-t` list, or all.
    Tests(Option<String>),
    /// SET and GET in this ratio.
    Ratio(u64, u64),
    /// A request of one's own.
    Custom(Vec<Vec<u8>>),
}

/// Where results go, and what they look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// One line for each test.
    pub quiet: bool,
    /// Lines of CSV instead of text.
    pub csv: bool,
    /// Digits of latencies.
    pub precision: usize,
    /// A file for the document; `-` is standard output.
    pub json: Option<String>,
    /// A file for the page.
    pub html: Option<String>,
    /// A directory for percentiles.
    pub hgrm: Option<PathBuf>,
    /// The heading.
    pub title: String,
    /// What sets these loads apart from others in a joined report.
    pub label: String,
    /// Words of the command line.
    pub command: Vec<String>,
}

/// The value of an argument that has a default, or was given.
pub fn value<T: Clone + Send + Sync + 'static>(
    found: &ArgMatches,
    name: &str,
) -> Result<T, BenchError> {
    found.get_one(name).cloned().ok_or_else(|| BenchError::Usage(format!("--{name} is missing")))
}

/// True if the user gave it.
pub fn is_given(found: &ArgMatches, name: &str) -> bool {
    found.value_source(name) == Some(ValueSource::CommandLine)
}

/// The servers that the command line names.
pub fn targets(found: &ArgMatches) -> Result<Vec<Target>, BenchError> {
    let one = target(found)?;
    let Some(list) = found.get_one::<String>("compare") else { return Ok(vec![one]) };
    let named = |item: &str| -> Result<Target, BenchError> {
        let bad = || BenchError::Usage(format!("--compare takes HOST:PORT=NAME, not {item}"));
        let (place, name) = item.split_once('=').unwrap_or((item, ""));
        let place = if place.starts_with('/') {
            Place::Unix(place.into())
        } else {
            let (host, port) = place.rsplit_once(':').ok_or_else(bad)?;
            let host = if host.is_empty() { "127.0.0.1" } else { host };
            Place::tcp(host, port.parse().map_err(|_| bad())?)?
        };
        let at = Target { place: place.clone(), ..one.clone() };
        let name = if name.is_empty() { Target::at(place).name } else { name.to_owned() };
        Ok(Target { name, ..at })
    };
    let all: Vec<Target> = list.split(',').map(named).collect::<Result<_, _>>()?;
    for (at, target) in all.iter().enumerate() {
        if all[..at].iter().any(|other| other.name == target.name) {
            return Err(BenchError::Usage(format!("--compare has {} twice", target.name)));
        }
    }
    Ok(all)
}

/// The server at `-h`, `-p`, `-s` or `-u`.
pub fn target(found: &ArgMatches) -> Result<Target, BenchError> {
    let text = |name: &str| found.get_one::<String>(name).cloned();
    let mut target = match (text("uri"), text("socket")) {
        (Some(uri), _) => from_uri(&uri)?,
        (None, Some(path)) => Target::at(Place::Unix(path.into())),
        (None, None) => {
            let host: String = value(found, "host")?;
            Target::at(Place::tcp(&host, value(found, "port")?)?)
        }
    };
    match (text("user"), text("password")) {
        (user, Some(password)) => target.login = Some((user, password)),
        (Some(_), None) => return Err(BenchError::Usage("--user needs -a".into())),
        (None, None) => {}
    }
    target.resp3 = found.get_flag("resp3");
    if let Some(&database) = found.get_one::<u32>("dbnum") {
        target.database = database;
    }
    Ok(target)
}

/// `redis://[[user]:password@]host[:port][/database]`.
fn from_uri(uri: &str) -> Result<Target, BenchError> {
    let bad = |why: &str| BenchError::Usage(format!("{uri}: {why}"));
    if uri.starts_with("rediss://") {
        return Err(bad("TLS is not spoken"));
    }
    let rest = uri.strip_prefix("redis://").ok_or_else(|| bad("not of the form redis://..."))?;
    let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(l, r)| (Some(l), r));
    let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| bad("the port is no number"))?)
        }
        _ => (place, 6379),
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let database = match database {
        "" => 0,
        number => number.parse().map_err(|_| bad("the database is no number"))?,
    };
    let mut target = Target { database, ..Target::at(Place::tcp(host, port)?) };
    if let Some(login) = login {
        let (user, password) = login.split_once(':').unwrap_or(("", login));
        let user = (!user.is_empty()).then(|| decoded(user));
        target.login = Some((user, decoded(password)));
    }
    Ok(target)
}

/// `%41` becomes `A`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let code = code.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `SET:GET`.
pub fn ratio(text: &str) -> Result<(u64, u64), BenchError> {
    let bad = || BenchError::Usage(format!("--ratio takes SET:GET such as 1:9, not {text}"));
    let (set, get) = text.split_once(':').ok_or_else(bad)?;
    let number = |text: &str| text.parse().ok().filter(|n| *n <= 1_000_000).ok_or_else(bad);
    let (set, get) = (number(set)?, number(get)?);
    if set + get == 0 { Err(bad()) } else { Ok((set, get)) }
}

/// Every combination of what is swept, the last-named varying fastest.
pub fn shapes(base: Shape, sweeps: &[String]) -> Result<Vec<Shape>, BenchError> {
    let mut shapes = vec![base];
    for sweep in sweeps {
        let (name, list) = sweep.split_once('=').unwrap_or((sweep, ""));
        let mut grown = Vec::new();
        for shape in &shapes {
            for item in list.split(',') {
                grown.push(with(shape, name, item)?);
            }
        }
        shapes = grown;
        if shapes.len() > BENCH_RUNS_MAX {
            return Err(BenchError::Usage(format!("more than {BENCH_RUNS_MAX} combinations")));
        }
    }
    shapes.into_iter().map(checked).collect()
}

fn with(shape: &Shape, name: &str, item: &str) -> Result<Shape, BenchError> {
    let number = || {
        let number = item.trim().parse::<u64>();
        number.map_err(|_| BenchError::Usage(format!("--sweep {name}: {item:?} is no number")))
    };
    let mut shape = shape.clone();
    match name {
        "clients" | "c" => shape.clients = number()? as usize,
        "pipeline" | "P" => shape.pipeline = number()? as usize,
        "data" | "d" => shape.data_bytes = number()? as usize,
        "keyspace" | "r" => shape.key_space = number()?,
        "threads" => shape.threads = number()? as usize,
        "rate" => shape.rate = Some(number()? as f64),
        _ => {
            let known = "clients, pipeline, data, keyspace, threads, rate";
            return Err(BenchError::Usage(format!("--sweep knows {known}; not {name:?}")));
        }
    }
    Ok(shape)
}

fn checked(shape: Shape) -> Result<Shape, BenchError> {
    let within = |name: &str, value: usize, max: usize| {
        let message = || BenchError::Usage(format!("{name} must be from 1 to {max}"));
        (1..=max).contains(&value).then_some(()).ok_or_else(message)
    };
    within("the number of connections", shape.clients, BENCH_CLIENTS_MAX)?;
    within("the pipeline", shape.pipeline, BENCH_PIPELINE_MAX)?;
    within("the number of threads", shape.threads, 1024)?;
    within("the size of a value", shape.data_bytes.max(1), STRING_LEN_MAX)?;
    if shape.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e9)) {
        return Err(BenchError::Usage("the rate must be above 0".into()));
    }
    let threads = shape.threads.min(shape.clients);
    Ok(Shape { threads, ..shape })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_everything() {
        let target = from_uri("redis://bob:p%40ss@127.0.0.1:7000/3").expect("a good one");
        assert_eq!(target.address(), "127.0.0.1:7000");
        assert_eq!(target.login, Some((Some("bob".into()), "p@ss".into())));
        assert_eq!(target.database, 3);
        let target = from_uri("redis://secret@[::1]").expect("a good one");
        assert_eq!(target.address(), "[::1]:6379");
        assert_eq!(target.login, Some((None, "secret".into())));
        for bad in ["rediss://x", "http://x", "redis://x:y", "redis://x/y"] {
            assert!(matches!(from_uri(bad), Err(BenchError::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn a_sweep_makes_all_combinations() {
        let base = Shape { clients: 50, pipeline: 1, threads: 2, ..Shape::default() };
        let sweeps = ["clients=1,8".to_owned(), "P=1,16,64".to_owned()];
        let all = shapes(base.clone(), &sweeps).expect("numbers");
        let pairs: Vec<(usize, usize)> = all.iter().map(|s| (s.clients, s.pipeline)).collect();
        assert_eq!(pairs, [(1, 1), (1, 16), (1, 64), (8, 1), (8, 16), (8, 64)]);
        assert_eq!(all[0].threads, 1, "not more threads than connections");
        for bad in ["clients=0", "clients=x", "clients", "colour=1", "P=0", "rate=0"] {
            assert!(shapes(base.clone(), &[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_ratio_has_two_sides() {
        assert_eq!(ratio("1:9").ok(), Some((1, 9)));
        for bad in ["1", "0:0", "a:b", "-1:1", "1:9999999"] {
            assert!(ratio(bad).is_err(), "{bad}");
        }
    }
}
