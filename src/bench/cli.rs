//! The command line of `dse-bench`: redis-benchmark's letters, and more.

use super::client::run::Amount;
use super::error::BenchError;
use super::load::suite;
use super::local::BATCH_MAX;
use super::local::miss_ratio::{MissOptions, POLICIES};
use super::local::read_compare::CompareOptions;
use super::local::throughput::MixOptions;
use super::options::{self, Load, Options, Output, is_given, target, targets, value};
use super::report::document::Shape;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// Rounds of a comparison, if nobody says how many.
const ROUNDS_OF_COMPARISON: usize = 5;
/// Rounds of a trial of many connections, if nobody says how many.
const ROUNDS_OF_TRIAL: usize = 3;
/// Length of a run, if neither requests nor time are given and it is one of several.
const SECONDS_OF_ROUND: f64 = 1.0;

/// What is asked for.
#[derive(Debug)]
pub enum Task {
    /// Load servers.
    Load(Options),
    /// Open connections and leave them alone.
    Idle(Options),
    /// Many connections, each of which checks its answers.
    Clients {
        /// How they are driven.
        options: Options,
        /// How many of them send anything.
        active: usize,
    },
    /// What idle and bad connections cost the others and the server.
    Abuse {
        /// How they are driven.
        options: Options,
        /// How many of them send anything.
        active: usize,
    },
    /// What one heavy connection costs the others.
    Heavy(Options),
    /// What keys cost.
    Memory {
        /// Whom to ask, and where results go.
        options: Options,
        /// How many keys.
        keys: u64,
        /// How long memory may settle.
        settle: Duration,
    },
    /// Say in one line whether a server answers.
    Ping(super::client::target::Target),
    /// Answer as fast as can be.
    Floor(super::floor::FloorOptions),
    /// The mixed load in process.
    Throughput(MixOptions),
    /// Reads of several maps in process.
    ReadCompare(CompareOptions),
    /// Miss ratios of caches.
    MissRatio(MissOptions),
    /// Join documents into a page.
    Report {
        /// Documents.
        files: Vec<String>,
        /// Where results go.
        output: Output,
    },
}

/// Why there is no task: a mistake of ours to report, or clap's own words.
#[derive(Debug)]
pub enum NoTask {
    /// What clap prints, `--help` included.
    Clap(clap::Error),
    /// What we have to say.
    Bench(BenchError),
}

impl From<BenchError> for NoTask {
    fn from(error: BenchError) -> NoTask {
        NoTask::Bench(error)
    }
}

/// Reads the command line, the program's name included.
pub fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Task, NoTask> {
    let line: Vec<OsString> = line.into_iter().collect();
    let words = line.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let found = command().try_get_matches_from(line).map_err(NoTask::Clap)?;
    Ok(task(&found, words)?)
}

fn task(found: &ArgMatches, words: Vec<String>) -> Result<Task, BenchError> {
    let Some((name, sub)) = found.subcommand() else {
        let load = load_of(found)?;
        let options = load_options(found, load, words)?;
        let is_idle = found.get_flag("idle");
        return Ok(if is_idle { Task::Idle(options) } else { Task::Load(options) });
    };
    match name {
        "ping" => Ok(Task::Ping(target(sub)?)),
        "floor" => floor(sub),
        "throughput" => throughput(sub),
        "read-compare" => read_compare(sub),
        "miss-ratio" => miss_ratio(sub),
        "report" => report(sub, words),
        "memory" => {
            let options = load_options(sub, Load::Tests(Some("set".into())), words)?;
            let settle = Duration::from_secs_f64(value(sub, "settle")?);
            Ok(Task::Memory { options, keys: value(sub, "keys")?, settle })
        }
        "clients" => clients(sub, words),
        command => {
            let rest = sub.get_many::<OsString>("").into_iter().flatten();
            let mut args = vec![command.as_bytes().to_vec()];
            args.extend(rest.map(|arg| arg.as_bytes().to_vec()));
            if found.get_flag("stdin") {
                let mut last = Vec::new();
                std::io::stdin().lock().read_to_end(&mut last)?;
                args.push(last);
            }
            Ok(Task::Load(load_options(found, Load::Custom(args), words)?))
        }
    }
}

fn load_of(found: &ArgMatches) -> Result<Load, BenchError> {
    if let Some(ratio) = found.get_one::<String>("ratio") {
        let (set, get) = options::ratio(ratio)?;
        return Ok(Load::Ratio(set, get));
    }
    let list = found.get_one::<String>("tests").cloned();
    suite::chosen(list.as_deref())
        .map_err(|name| BenchError::Usage(format!("-t: there is no test {name:?}")))?;
    Ok(match list {
        // Most tests have nothing that a model could know.
        None if found.get_flag("verify") => Load::Ratio(1, 3),
        list => Load::Tests(list),
    })
}

fn load_options(
    found: &ArgMatches,
    load: Load,
    command: Vec<String>,
) -> Result<Options, BenchError> {
    let targets = targets(found)?;
    let is_series = targets.len() > 1 || found.get_many::<String>("sweep").is_some();
    let seconds = match found.get_one::<f64>("time") {
        Some(seconds) => Some(*seconds),
        None if is_series && !is_given(found, "requests") => Some(SECONDS_OF_ROUND),
        None => None,
    };
    let amount = match seconds {
        Some(seconds) => Amount::Time(Duration::from_secs_f64(seconds)),
        None => Amount::Requests(value(found, "requests")?),
    };
    let rounds = if targets.len() > 1 { ROUNDS_OF_COMPARISON } else { 1 };
    let base = Shape {
        clients: value(found, "clients")?,
        pipeline: value(found, "pipeline")?,
        data_bytes: value(found, "data")?,
        key_space: found.get_one("keyspace").copied().unwrap_or(0),
        threads: value(found, "threads")?,
        rate: found.get_one("rate").copied(),
    };
    let sweeps: Vec<String> = found.get_many("sweep").into_iter().flatten().cloned().collect();
    Ok(Options {
        targets,
        shapes: options::shapes(base, &sweeps)?,
        load,
        amount,
        warmup: Duration::from_secs_f64(value(found, "warmup")?),
        rounds: found.get_one("rounds").copied().unwrap_or(rounds).max(1),
        zipf: found.get_one("zipf").copied(),
        verify: found.get_flag("verify"),
        prefix: value(found, "prefix")?,
        preload: found.get_flag("preload"),
        cluster: found.get_flag("cluster"),
        reconnect: found.get_one::<u8>("keepalive") == Some(&0),
        cpus: cpus(found)?,
        seed: value(found, "seed")?,
        forever: found.get_flag("loop"),
        silence: Duration::from_secs_f64(value(found, "silence")?),
        output: output(found, command)?,
    })
}

fn output(found: &ArgMatches, command: Vec<String>) -> Result<Output, BenchError> {
    Ok(Output {
        quiet: found.get_flag("quiet"),
        csv: found.get_flag("csv"),
        precision: value(found, "precision")?,
        json: found.get_one("json").cloned(),
        html: found.get_one("html").cloned(),
        hgrm: found.get_one::<PathBuf>("hgrm").cloned(),
        title: value(found, "title")?,
        label: value(found, "label")?,
        command,
    })
}

/// `0,2-4`.
fn cpus(found: &ArgMatches) -> Result<Vec<usize>, BenchError> {
    let Some(list) = found.get_one::<String>("client-cpus") else { return Ok(Vec::new()) };
    let bad = || BenchError::Usage(format!("--client-cpus takes a list such as 0,2-4, not {list}"));
    let mut cpus = Vec::new();
    for item in list.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n < 4096).ok_or_else(bad);
        cpus.extend(number(first)?..=number(last)?);
    }
    Ok(cpus)
}

fn clients(found: &ArgMatches, words: Vec<String>) -> Result<Task, BenchError> {
    let count: usize = value(found, "COUNT")?;
    let mut options = load_options(found, Load::Ratio(1, 1), words)?;
    let active = found.get_one("active").copied().unwrap_or(count).clamp(1, count.max(1));
    if !is_given(found, "requests") && !is_given(found, "time") {
        options.amount = Amount::Requests(20 * active as u64);
    }
    let base = Shape { clients: count, ..options.shapes[0].clone() };
    options.shapes = options::shapes(base, &[])?;
    if !is_given(found, "rounds") {
        options.rounds = ROUNDS_OF_TRIAL;
    }
    Ok(match (found.get_flag("abuse"), found.get_flag("heavy")) {
        (true, _) => Task::Abuse { options, active },
        (false, true) => Task::Heavy(options),
        (false, false) => Task::Clients { options, active },
    })
}

fn floor(found: &ArgMatches) -> Result<Task, BenchError> {
    Ok(Task::Floor(super::floor::FloorOptions {
        place: target(found)?.place,
        threads: value::<usize>(found, "threads")?.clamp(1, 1024),
        data_bytes: value(found, "data")?,
    }))
}

fn throughput(found: &ArgMatches) -> Result<Task, BenchError> {
    Ok(Task::Throughput(MixOptions {
        threads: local_threads(found)?,
        time: Duration::from_secs_f64(found.get_one("time").copied().unwrap_or(3.0)),
        data_bytes: value(found, "data")?,
        batches: batches(found, &[1, 8])?,
        quiet: found.get_flag("quiet"),
        json: found.get_one("json").cloned(),
    }))
}

fn read_compare(found: &ArgMatches) -> Result<Task, BenchError> {
    Ok(Task::ReadCompare(CompareOptions {
        threads: local_threads(found)?,
        time: Duration::from_secs_f64(found.get_one("time").copied().unwrap_or(1.0)),
        rounds: found.get_one("rounds").copied().unwrap_or(5).max(1),
        keys: value::<u64>(found, "keys")?.max(1),
        data_bytes: value(found, "data")?,
        batches: batches(found, &[16])?,
        only: found.get_one::<String>("only").cloned(),
        json: found.get_one("json").cloned(),
    }))
}

fn miss_ratio(found: &ArgMatches) -> Result<Task, BenchError> {
    let asked = is_given(found, "host") || is_given(found, "port") || is_given(found, "socket");
    let policies: Vec<String> = found.get_many("policy").into_iter().flatten().cloned().collect();
    let default = || POLICIES.iter().map(|name| name.to_string()).collect();
    Ok(Task::MissRatio(MissOptions {
        capacity: value::<u64>(found, "keys")?.max(1000) as usize,
        accesses: found.get_one("accesses").copied().unwrap_or(1_000_000_usize).max(1000),
        server: if asked { Some(target(found)?) } else { None },
        policies: if policies.is_empty() { default() } else { policies },
        json: found.get_one("json").cloned(),
    }))
}

fn local_threads(found: &ArgMatches) -> Result<usize, BenchError> {
    let threads = if is_given(found, "threads") { value(found, "threads")? } else { 8 };
    Ok(threads.clamp(1, 1024))
}

fn batches(found: &ArgMatches, default: &[usize]) -> Result<Vec<usize>, BenchError> {
    let given: Vec<usize> = found.get_many("batch").into_iter().flatten().copied().collect();
    if given.iter().any(|batch| !(1..=BATCH_MAX).contains(batch)) {
        return Err(BenchError::Usage(format!("--batch takes numbers from 1 to {BATCH_MAX}")));
    }
    Ok(if given.is_empty() { default.to_vec() } else { given })
}

fn report(found: &ArgMatches, words: Vec<String>) -> Result<Task, BenchError> {
    let files = found.get_many("FILE").into_iter().flatten().cloned().collect();
    let output = output(found, words)?;
    if output.html.is_none() && output.json.is_none() {
        return Err(BenchError::Usage("report: say --html FILE, --json FILE or both".into()));
    }
    Ok(Task::Report { files, output })
}

fn command() -> Command {
    Command::new("dse-bench")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Measures servers that speak the Redis protocol")
        .after_help(
            "Without a command it runs the tests of -t; any other command is sent as it is:\n  \
             dse-bench -p 6379 -t get,set -P 16\n  \
             dse-bench --compare :6379=redis,:7000=dse -t get -r 1000000 --html report.html\n  \
             dse-bench -r 10000 -n 100000 LPUSH mylist __rand_int__\n\
             Exit code: 0 good, 1 no answer or wrong answers, 2 a wrong command line.",
        )
        .disable_help_flag(true)
        .allow_external_subcommands(true)
        .args(connection_args())
        .args(load_args())
        .args(output_args())
        .subcommands(subcommands())
}

fn subcommands() -> [Command; 8] {
    let number = |name: &'static str| Arg::new(name).value_parser(value_parser!(usize));
    let keys = |default: &'static str| {
        Arg::new("keys").long("keys").value_parser(value_parser!(u64)).default_value(default)
    };
    let batch = Arg::new("batch")
        .long("batch")
        .value_parser(value_parser!(usize))
        .value_delimiter(',')
        .help("Operations prefetched together; several are measured in turn");
    let abuse = Arg::new("abuse").long("abuse").action(ArgAction::SetTrue).help(
        "Hold what idle connections, slow readers and half-sent requests cost against bounds \
         (on a fresh server)",
    );
    let heavy = Arg::new("heavy").long("heavy").action(ArgAction::SetTrue).help(
        "Hold what a connection with a thousand requests under way costs the others against a \
         bound",
    );
    let heavy = heavy.conflicts_with_all(["abuse", "active"]);
    [
        Command::new("ping").about("Says in one line whether a server answers"),
        Command::new("floor")
            .about("Answers every request with the least work: the physical limit of a server"),
        Command::new("throughput")
            .about("In process: 6 GET and 2 SET of each 8 operations, over key0 to key9999")
            .arg(batch.clone()),
        Command::new("read-compare")
            .about("In process: reads of our table and of other maps")
            .arg(keys("100000"))
            .arg(batch)
            .arg(Arg::new("only").long("only").help("Only these maps, comma-separated")),
        Command::new("miss-ratio")
            .about("How often caches of --keys keys miss; with -p a server too (it is emptied)")
            .arg(keys("20000"))
            .arg(number("accesses").long("accesses").help("Of each trace; 1000000 if not given"))
            .arg(
                Arg::new("policy")
                    .long("policy")
                    .value_delimiter(',')
                    .help("maxmemory-policy of the server; several are measured in turn"),
            ),
        Command::new("clients")
            .about("Many connections; each sends and checks its answers")
            .arg(number("COUNT").required(true))
            .arg(number("active").long("active").help("Only so many send anything"))
            .args([abuse, heavy]),
        Command::new("memory")
            .about("Resident memory for each key (servers should be empty)")
            .arg(keys("1000000"))
            .arg(seconds("settle", "1").help("Seconds between writing and looking")),
        Command::new("report")
            .about("Joins documents (--json of earlier runs) into one page")
            .arg(Arg::new("FILE").required(true).action(ArgAction::Append)),
    ]
}

fn seconds(name: &'static str, default: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name("SECONDS").value_parser(parse_seconds);
    if default.is_empty() { arg } else { arg.default_value(default) }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1e6).contains(&seconds) { Ok(seconds) } else { Err("from 0 to a million".into()) }
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).global(true)
}

fn text(name: &'static str) -> Arg {
    Arg::new(name).long(name).global(true)
}

fn connection_args() -> [Arg; 10] {
    [
        Arg::new("help").long("help").action(ArgAction::Help).global(true).help("Print help"),
        text("host").short('h').default_value("127.0.0.1").help("Host of the server"),
        text("port").short('p').value_parser(value_parser!(u16)).default_value("6379"),
        text("socket").short('s').help("Unix socket of the server, instead of host and port"),
        text("password").short('a').help("Password"),
        text("user").help("User name; needs -a"),
        text("uri").short('u').help("redis://user:password@host:port/database"),
        flag("resp3").short('3').help("Speak RESP3"),
        text("dbnum").value_parser(value_parser!(u32)).help("Database to work in"),
        text("compare")
            .value_name("HOST:PORT=NAME,...")
            .help("Several servers, round by round; ratios are to the first"),
    ]
}

fn load_args() -> Vec<Arg> {
    let count = |name| text(name).value_parser(value_parser!(usize));
    let long = |name| text(name).value_parser(value_parser!(u64));
    vec![
        count("clients").short('c').default_value("50").help("Parallel connections"),
        long("requests").short('n').default_value("100000").help("Requests of a run"),
        count("data").short('d').default_value("3").help("Bytes of a value"),
        text("tests").short('t').help("Tests, comma-separated [default: all]"),
        count("pipeline").short('P').default_value("1").help("Requests under way on each"),
        long("keyspace").short('r').help("Numbers for __rand_int__: below this [default: only 0]"),
        count("threads").default_value("1").help("Client threads"),
        flag("cluster").help("Spread over all nodes of a cluster"),
        text("keepalive")
            .short('k')
            .value_parser(value_parser!(u8).range(0..=1))
            .help("0: connect again for each batch"),
        flag("loop").short('l').help("Begin again when done"),
        flag("idle").short('I').help("Only open connections, and wait"),
        flag("stdin").short('x').help("Read the last argument from standard input"),
        seconds("time", "").global(true).help("Length of a run, instead of -n"),
        seconds("warmup", "0").global(true).help("Time before a run counts"),
        text("rate")
            .value_parser(value_parser!(f64))
            .help("Requests a second; latency counts from when each should have been sent"),
        text("ratio").value_name("SET:GET").help("A mix of SET and GET instead of tests"),
        text("zipf")
            .value_parser(parse_exponent)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("0.99")
            .value_name("EXPONENT")
            .help("Low numbers more often, --zipf=0.99"),
        flag("verify").help("Check every reply against a model"),
        text("prefix").default_value("verify:").help("Of keys that are verified"),
        flag("preload").help("Write the whole key space first"),
        count("rounds").help("Runs of each load [default: 1; 5 with --compare]"),
        text("sweep")
            .action(ArgAction::Append)
            .value_name("NAME=A,B,...")
            .help("Vary clients, pipeline, data, keyspace, threads or rate; may be repeated"),
        text("client-cpus").value_name("LIST").help("Processors for the client threads"),
        long("seed").default_value("1").help("Where chance begins"),
        seconds("silence", "30").global(true).help("Give up on a server that is silent so long"),
    ]
}

fn parse_exponent(text: &str) -> Result<f64, String> {
    let exponent: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if exponent > 0.0 && exponent <= 10.0 { Ok(exponent) } else { Err("above 0, up to 10".into()) }
}

fn output_args() -> [Arg; 8] {
    [
        flag("quiet").short('q').help("One line for each test"),
        flag("csv").help("Lines of CSV, redis-benchmark's columns first"),
        text("precision").value_parser(value_parser!(usize)).default_value("3"),
        text("json").value_name("FILE").help("Write all figures as JSON; - is standard output"),
        text("html").value_name("FILE").help("Write a report with plots"),
        text("hgrm")
            .value_parser(value_parser!(PathBuf))
            .value_name("DIR")
            .help("Write percentiles for HdrHistogram's plotter"),
        text("title").default_value("dse-bench").help("Heading of the report"),
        text("label").default_value("").help("Sets these loads apart in a joined report"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        let words = std::iter::once("dse-bench").chain(line.split_whitespace());
        parse(words.map(OsString::from)).map_err(|error| match error {
            NoTask::Clap(error) => error.to_string(),
            NoTask::Bench(error) => error.to_string(),
        })
    }

    fn load(line: &str) -> Options {
        match parsed(line).expect(line) {
            Task::Load(options) => options,
            task => panic!("{line}: {task:?}"),
        }
    }

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn letters_mean_what_they_mean_to_redis_benchmark() {
        let options = load(
            "-h localhost -p 7400 -c 20 -n 1000 -d 64 -t get,set -P 16 -r 100 -q --threads 2 -3 \
             -a secret --user bob --dbnum 2 -k 0",
        );
        let shape = &options.shapes[0];
        assert_eq!((shape.clients, shape.pipeline, shape.data_bytes), (20, 16, 64));
        assert_eq!((shape.key_space, shape.threads), (100, 2));
        assert_eq!(options.amount, Amount::Requests(1000));
        assert_eq!(options.load, Load::Tests(Some("get,set".into())));
        assert!(options.output.quiet && options.reconnect);
        let target = &options.targets[0];
        assert_eq!(target.address(), "localhost:7400");
        assert_eq!(target.login, Some((Some("bob".into()), "secret".into())));
        assert!(target.resp3 && target.database == 2);
    }

    #[test]
    fn anything_that_is_no_command_of_ours_is_sent() {
        let options = load("-n 10 LPUSH list __rand_int__");
        let args: Vec<Vec<u8>> = ["LPUSH", "list", "__rand_int__"].map(|a| a.into()).to_vec();
        assert_eq!(options.load, Load::Custom(args));
        let Ok(Task::Ping(target)) = parsed("ping -p 7400") else { panic!("no ping") };
        assert!(target.address().ends_with(":7400"));
    }

    #[test]
    fn a_comparison_has_rounds_and_times() {
        let options = load("--compare :7400=a,127.0.0.1:7401=b -t get --sweep P=1,16");
        assert_eq!(options.rounds, ROUNDS_OF_COMPARISON);
        assert_eq!(options.amount, Amount::Time(Duration::from_secs(1)));
        let names: Vec<&str> = options.targets.iter().map(|target| target.name.as_str()).collect();
        assert_eq!((names, options.shapes.len()), (vec!["a", "b"], 2));
        assert_eq!(load("--verify").load, Load::Ratio(1, 3));
        assert_eq!(load("--zipf -r 10").zipf, Some(0.99));
        assert_eq!(load("--zipf=1.2 -r 10").zipf, Some(1.2));
        assert_eq!(load("--client-cpus 0,2-4").cpus, [0, 2, 3, 4]);
    }

    #[test]
    fn each_command_is_understood() {
        assert!(matches!(parsed("clients 12000 --active 1000"),
            Ok(Task::Clients { active: 1000, options }) if options.shapes[0].clients == 12_000));
        assert!(matches!(parsed("throughput"), Ok(Task::Throughput(mix)) if mix.threads == 8));
        assert!(matches!(parsed("read-compare --keys 5 --threads 2"),
            Ok(Task::ReadCompare(compare)) if compare.keys == 5 && compare.threads == 2));
        assert!(matches!(parsed("floor -p 7400 -d 64"), Ok(Task::Floor(f)) if f.data_bytes == 64));
        assert!(matches!(parsed("memory --keys 10"), Ok(Task::Memory { keys: 10, .. })));
        let Ok(Task::Report { files, .. }) = parsed("report a b --html c") else {
            panic!("no report")
        };
        assert_eq!(files, ["a", "b"]);
        assert!(matches!(parsed("-I -c 3"), Ok(Task::Idle(_))));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, said) in [
            ("-t get,gte", "no test \"gte\""),
            ("--compare a", "HOST:PORT=NAME"),
            ("--compare :1=a,:2=a", "a twice"),
            ("--ratio 1", "SET:GET"),
            ("-c 0", "connections"),
            ("--user bob", "needs -a"),
            ("--client-cpus x", "0,2-4"),
            ("report a", "--html"),
            ("throughput --batch 0", "1 to 16"),
            ("--zipf=0", "above 0"),
            ("--sweep colour=1", "knows clients"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
