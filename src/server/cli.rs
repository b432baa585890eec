//! The command line: flags, environment and file become a configuration, or one clear line.
//!
//! ```text
//! dse-server [FILE|-] [--name value...]...
//! ```
//!
//! Every directive of the table is a flag. As with Redis, what follows a flag up to the next
//! `--name` belongs to it, so that `--save 60 1`, `--bind 127.0.0.1 -::1` and
//! `--slowlog-log-slower-than -1` need no quotes; `--name=value` works as well. Of two
//! occurrences of a flag the last one holds, except where lines of a file would add up.
//!
//! Whoever starts the program exits with 0 after `Help`, `Version` and `Checked`, and with 1 after
//! a `CliError`, as Redis does for everything that keeps it from starting.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::bind::BindError;
use crate::config::file::quote;
use crate::config::load::{self, FileSource, LoadError, Notice, Sources};
use crate::config::{BadSetting, Config, Directive, Flags, Origin, Setting, TABLE, directive};
use crate::util::quote::{UnbalancedQuotes, split_args};

/// What the command line asks for.
pub enum Startup {
    /// To serve with this configuration, after logging what deserves a warning.
    Run(Box<Config>, Vec<Notice>),
    /// The file is in order; the text says so.
    Checked(String),
    /// To check this data directory.
    CheckData(PathBuf),
    /// To print this help.
    Help(String),
    /// To print this version.
    Version(String),
}

/// Why the server does not start; its text is one line without the program's name.
#[derive(Debug)]
pub enum CliError {
    /// A flag is neither a directive nor one of the few others.
    UnknownFlag(Box<BadSetting>),
    /// A word before any flag is left over.
    Stray(String),
    /// A flag misses what must follow it.
    Missing(&'static str),
    /// Standard input could not be read.
    Stdin(io::Error),
    /// A setting of any layer was refused, or a file could not be read.
    Load(LoadError),
    /// An address cannot be listened on.
    Bind {
        /// Where it was said.
        origin: Option<Origin>,
        /// What is wrong with it.
        source: BindError,
    },
    /// Neither TCP nor a unix socket is left to listen on.
    NoListener,
    /// Anything else that the parser of flags dislikes.
    Usage(String),
}

/// Reads the command line. `args` come without the name of the program; `stdin` is read when the
/// file is `-`.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    stdin: impl FnOnce() -> io::Result<Vec<u8>>,
) -> Result<Startup, CliError> {
    let line = Line::cut(args)?;
    let matches = command().try_get_matches_from(line.flags).map_err(usage)?;
    if matches.get_flag(HELP) {
        return Ok(Startup::Help(help()));
    }
    if matches.get_flag(VERSION) {
        return Ok(Startup::Version(version()));
    }
    if let Some(words) = last_occurrence(&matches, CHECK) {
        return check(&words);
    }
    if let Some(words) = last_occurrence(&matches, CHECK_DATA) {
        let [directory] = &*words else { return Err(CliError::Missing("--check needs one DIR")) };
        return Ok(Startup::CheckData(PathBuf::from(OsStr::from_bytes(directory))));
    }
    let file = match line.file {
        None => FileSource::None,
        Some(name) if name == "-" => FileSource::Text(stdin().map_err(CliError::Stdin)?),
        Some(name) => FileSource::Path(PathBuf::from(name)),
    };
    let environment: Vec<_> = environment.into_iter().collect();
    let variables = environment.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
    let (environment, mut notices) = load::environment(variables);
    let sources = Sources { file, environment, flags: settings(&matches) };
    let (config, more) = Config::load(sources).map_err(CliError::Load)?;
    check_addresses(&config)?;
    notices.extend(more);
    Ok(Startup::Run(Box::new(config), notices))
}

/// `--version` in one line.
pub fn version() -> String {
    format!("dse {} (protocol and commands of Redis 7.0)", env!("CARGO_PKG_VERSION"))
}

/// `--help`: directives that do something, by group.
pub fn help() -> String {
    command().render_help().to_string()
}

const HELP: &str = "help";
const VERSION: &str = "version";
const CHECK: &str = "check-config";
const CHECK_DATA: &str = "check";

const USAGE: &str = "dse-server [FILE | -] [--DIRECTIVE VALUE...]...";

const AFTER_HELP: &str = "\
FILE holds directives without their dashes, one to a line; - reads them from standard input.
Every directive can also be set in the environment: DSE_MAXCLIENTS=100. Flags win over the
environment, the environment over the file, the file over the defaults.

Directives of Redis that are accepted but have no effect are not listed here; docs/configuration.md
has all of them.";

/// The command line cut into what stands before the flags and the flags with their words.
struct Line {
    file: Option<OsString>,
    /// Program name, then for each flag `--name=words`, the words quoted so that they can be
    /// cut apart again. Only so do words that look like flags reach the flag they belong to.
    flags: Vec<OsString>,
}

impl Line {
    fn cut(args: impl IntoIterator<Item = OsString>) -> Result<Line, CliError> {
        let mut line = Line { file: None, flags: Vec::new() };
        let mut open: Option<(String, Vec<OsString>)> = None;
        for (position, arg) in args.into_iter().enumerate() {
            if let Some((name, value)) = as_flag(&arg) {
                line.close(open.take());
                open = Some((name, value.into_iter().collect()));
            } else if let Some((_, words)) = &mut open {
                words.push(arg);
            } else if position == 0 && (arg == "-" || !arg.as_bytes().starts_with(b"-")) {
                line.file = Some(arg);
            } else {
                return Err(CliError::Stray(arg.to_string_lossy().into_owned()));
            }
        }
        line.close(open);
        line.flags.insert(0, "dse-server".into());
        Ok(line)
    }

    fn close(&mut self, flag: Option<(String, Vec<OsString>)>) {
        let Some((name, words)) = flag else { return };
        self.flags.push(match name.as_str() {
            HELP | VERSION => format!("--{name}").into(),
            _ => {
                let words: Vec<_> = words.iter().map(|word| quote(word.as_bytes())).collect();
                format!("--{name}={}", words.join(" ")).into()
            }
        });
    }
}

/// Name and value of `--name`, `--name=value`, `-h` and `-v`; names in lower case.
fn as_flag(arg: &OsStr) -> Option<(String, Option<OsString>)> {
    match arg.as_bytes() {
        b"-h" => return Some((HELP.into(), None)),
        b"-v" => return Some((VERSION.into(), None)),
        _ => {}
    }
    let long = arg.as_bytes().strip_prefix(b"--")?;
    let mut parts = long.splitn(2, |byte| *byte == b'=');
    let name = parts.next().unwrap_or_default();
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    Some((name, parts.next().map(|value| OsString::from_vec(value.to_vec()))))
}

/// The parser of flags, and with it the help, from the table.
fn command() -> Command {
    let mut rows: Vec<&Directive> = TABLE.iter().collect();
    rows.sort_by_key(|row| row.group);
    let switch = |name, text| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(text).help_heading("General")
    };
    Command::new("dse-server")
        .about("A distributed in-memory storage engine that speaks the Redis protocol")
        .override_usage(USAGE)
        .after_help(AFTER_HELP)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(switch(HELP, "Print this help").short('h'))
        .arg(switch(VERSION, "Print the version").short('v'))
        .arg(
            Arg::new(CHECK)
                .long(CHECK)
                .alias("test-config")
                .value_name("FILE")
                .help("Check a file, print OK or what is wrong with it")
                .help_heading("General")
                .action(ArgAction::Append)
                .value_parser(cut_words),
        )
        .arg(
            Arg::new(CHECK_DATA)
                .long(CHECK_DATA)
                .value_name("DIR")
                .help("Verify the data in a directory, and tell what is there")
                .help_heading("General")
                .action(ArgAction::Append)
                .value_parser(cut_words),
        )
        .args(rows.into_iter().map(argument))
}

fn argument(row: &'static Directive) -> Arg {
    let default = match row.default {
        "" => String::new(),
        default => format!(" [{default}]"),
    };
    Arg::new(row.name)
        .long(row.name)
        .aliases(row.aliases.iter().copied())
        .visible_aliases(row.synonyms.iter().copied())
        .help(StyledStr::from(format!("{}{default}", row.doc)))
        .help_heading(row.group.title())
        .value_name(placeholder(row))
        .hide(row.is(Flags::ACCEPTED) && !row.is(Flags::OWN) || row.is(Flags::HIDDEN))
        .action(ArgAction::Append)
        .value_parser(cut_words)
}

fn placeholder(row: &Directive) -> &'static str {
    use crate::config::Kind;
    match row.kind {
        Kind::Bool => "yes|no",
        Kind::Int { .. } | Kind::Octal { .. } | Kind::Threads => "N",
        Kind::Memory { .. } | Kind::MemoryOrPercent => "SIZE",
        Kind::Choice(_) | Kind::Set(_) => "WORD",
        Kind::Directory => "DIR",
        Kind::Addresses => "ADDRESS...",
        _ => "VALUE",
    }
}

/// The words of one occurrence of a flag, as `Line::close` joined them.
fn cut_words(text: &str) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    split_args(text.as_bytes())
}

/// The settings of all flags, in the order of the table; several of one flag in their own order.
fn settings(matches: &ArgMatches) -> Vec<Setting> {
    let given = |row: &'static Directive| {
        let occurrences = matches.get_many::<Vec<Vec<u8>>>(row.name).into_iter().flatten();
        occurrences.map(|words| Setting {
            name: row.name.into(),
            args: words.clone(),
            origin: Origin::Flag(row.name.into()),
        })
    };
    TABLE.iter().flat_map(given).collect()
}

fn last_occurrence(matches: &ArgMatches, name: &str) -> Option<Vec<Vec<u8>>> {
    matches.get_many::<Vec<Vec<u8>>>(name)?.next_back().cloned()
}

/// `--check-config FILE`: the file alone, without flags and environment.
fn check(words: &[Vec<u8>]) -> Result<Startup, CliError> {
    let [file] = words else { return Err(CliError::Missing("--check-config needs one FILE")) };
    let path = PathBuf::from(OsStr::from_bytes(file));
    let sources = Sources { file: FileSource::Path(path.clone()), ..Sources::default() };
    let (config, notices) = Config::load(sources).map_err(CliError::Load)?;
    check_addresses(&config)?;
    let mut text: String = notices.iter().map(|notice| format!("warning: {notice}\n")).collect();
    text.push_str(&format!("{}: OK", path.display()));
    Ok(Startup::Checked(text))
}

/// Finds out now what would keep the listener from starting.
fn check_addresses(config: &Config) -> Result<(), CliError> {
    let origin = || config.origin("bind").cloned();
    let addresses = config.listen_addresses();
    let addresses = addresses.map_err(|source| CliError::Bind { origin: origin(), source })?;
    let unix = !config.values().text("unixsocket").is_empty();
    if addresses.is_empty() && !unix { Err(CliError::NoListener) } else { Ok(()) }
}

/// What the parser of flags has to say, in one line of ours.
fn usage(error: clap::Error) -> CliError {
    if let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg)
        && let Some(name) = flag.strip_prefix("--")
        && directive::find(name.as_bytes()).is_none()
    {
        return CliError::UnknownFlag(Box::new(BadSetting::unknown_flag(name)));
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    CliError::Usage(line.trim_start_matches("error: ").into())
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::UnknownFlag(bad) => write!(f, "{bad}"),
            CliError::Stray(word) => {
                write!(f, "'{word}' belongs to no flag; usage: {USAGE}")
            }
            CliError::Missing(text) => f.write_str(text),
            CliError::Stdin(error) => write!(f, "cannot read standard input: {error}"),
            CliError::Load(error) => write!(f, "{error}"),
            CliError::Bind { origin: Some(origin), source } => write!(f, "{origin}: {source}"),
            CliError::Bind { origin: None, source } => write!(f, "bind: {source}"),
            CliError::NoListener => f.write_str(
                "nothing to listen on: give a port and an address to bind, or a unixsocket",
            ),
            CliError::Usage(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CliError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_with(
        line: &[&str],
        variables: &[(&str, &str)],
        input: &str,
    ) -> Result<Startup, String> {
        let args = line.iter().map(OsString::from);
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        parse(args, variables, || Ok(input.into())).map_err(|error| error.to_string())
    }

    fn run(line: &[&str]) -> Config {
        match parse_with(line, &[], "").unwrap() {
            Startup::Run(config, _) => *config,
            _ => panic!("{line:?} does not run a server"),
        }
    }

    fn value(config: &Config, name: &str) -> String {
        String::from_utf8(config.values().named(name).format()).unwrap()
    }

    fn refusal(line: &[&str]) -> String {
        let text =
            parse_with(line, &[], "").err().unwrap_or_else(|| panic!("{line:?} is accepted"));
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    }

    #[test]
    fn the_predecessors_command_line_works() {
        let line = "--port 6379 --bind 127.0.0.1 --threads 8 --data ./data --node node-1 \
                    --peers node-2:127.0.0.1:6380,node-3:127.0.0.1:6381 --role leader";
        let words: Vec<&str> = line.split_whitespace().collect();
        let config = run(&words);
        let peers = "node-2:127.0.0.1:6380,node-3:127.0.0.1:6381";
        for (name, expected) in [
            ("port", "6379"),
            ("bind", "127.0.0.1"),
            ("threads", "8"),
            ("node", "node-1"),
            ("peers", peers),
            ("role", "leader"),
        ] {
            assert_eq!(value(&config, name), expected);
        }
        let here = std::env::current_dir().unwrap();
        assert_eq!(value(&config, "dir"), here.join("data").display().to_string());
        assert_eq!(value(&run(&["--role", "follower"]), "role"), "follower");
        assert_eq!(value(&run(&["--dir", "/x"]), "dir"), "/x");
    }

    #[test]
    fn a_flag_takes_all_words_up_to_the_next_one() {
        let config = run(&[
            "--save",
            "60",
            "1",
            "--bind",
            "127.0.0.1",
            "-::1",
            "--slowlog-log-slower-than",
            "-1",
            "--client-output-buffer-limit",
            "normal",
            "1",
            "2",
            "3",
            "--requirepass",
            "a b",
            "--save",
            "300 10",
            "--port=7000",
            "--list-max-ziplist-size",
            "-5",
        ]);
        for (name, expected) in [
            ("save", "60 1 300 10"),
            ("bind", "127.0.0.1 -::1"),
            ("slowlog-log-slower-than", "-1"),
            (
                "client-output-buffer-limit",
                "normal 1 2 3 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
            ),
            ("requirepass", "a b"),
            ("port", "7000"),
            ("list-max-listpack-size", "-5"),
        ] {
            assert_eq!(value(&config, name), expected);
        }
        assert_eq!(value(&run(&["--port", "1", "--PORT", "2"]), "port"), "2", "the last one holds");
        assert_eq!(value(&run(&["--save"]), "save"), "");
        assert_eq!(value(&run(&["--save", ""]), "save"), "");
    }

    #[test]
    fn a_mistake_is_one_line_with_flag_value_and_range() {
        let port = "expected a whole number from 0 to 65535";
        let threads = "expected a whole number from 1 to 256, or auto";
        for (line, said) in [
            (&["--port", "70000"][..], format!("--port 70000: {port}")),
            (&["--port", "-1"], format!("--port -1: {port}")),
            (&["--port", "abc"], format!("--port abc: {port}")),
            (&["--port", ""], format!("--port \"\": {port}")),
            (&["--port"], format!("--port: a value is missing; {port}")),
            (&["--port", "1", "2"], format!("--port 1 2: wrong number of values; {port}")),
            (&["--threads", "0"], format!("--threads 0: {threads}")),
            (&["--threads", "-1"], format!("--threads -1: {threads}")),
            (&["--threads", "many"], format!("--threads many: {threads}")),
            (
                &["--maxclient", "7"],
                "unknown flag '--maxclient'; did you mean '--maxclients'?".into(),
            ),
            (&["--xyzzy"], "unknown flag '--xyzzy'".into()),
            (&["--sentinel"], "--sentinel: this server is no sentinel".into()),
            (&["-p", "7"], format!("'-p' belongs to no flag; usage: {USAGE}")),
            (
                &["--node", "a:b"],
                "--node a:b: expected a name of letters, digits, '.', '_' and '-'".into(),
            ),
            (
                &["--peers", "x"],
                "--peers x: expected id:host:port[@peer][/redirect], separated by commas".into(),
            ),
            (&["--role", "king"], "--role king: expected one of leader, follower".into()),
            (&["--port", "0"], CliError::NoListener.to_string()),
            (&["--bind", ""], CliError::NoListener.to_string()),
            (&["no.conf"], "cannot read no.conf: No such file or directory".into()),
            (&["--check-config"], "--check-config needs one FILE".into()),
        ] {
            assert_eq!(refusal(line), said, "{line:?}");
        }
        let text = refusal(&["--bind", "no-such-host.invalid"]);
        assert!(text.starts_with("--bind: cannot resolve 'no-such-host.invalid'"), "{text}");
    }

    #[test]
    fn names_of_hosts_are_resolved_and_tcp_can_be_off() {
        let config = run(&["--bind", "localhost", "--port", "7249"]);
        let addresses = config.listen_addresses().unwrap();
        assert!(addresses.iter().all(|listen| listen.address.ip().is_loopback()));
        let config = run(&["--port", "0", "--unixsocket", "dse.sock"]);
        assert_eq!(config.listen_addresses().unwrap(), []);
    }

    #[test]
    fn flags_win_over_environment_over_standard_input() {
        let input = "port 1\nhz 11\ntimeout 3\n";
        let variables = [("DSE_PORT", "2"), ("DSE_HZ", "12"), ("PORT", "9")];
        let startup = parse_with(&["-", "--port", "4"], &variables, input).unwrap();
        let Startup::Run(config, notices) = startup else { panic!() };
        assert_eq!(["port", "hz", "timeout"].map(|name| value(&config, name)), ["4", "12", "3"]);
        assert_eq!(notices, []);
        assert_eq!(config.file(), None);
    }

    #[test]
    fn a_file_is_checked_without_starting() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dse.conf");
        let name = path.to_str().unwrap();
        std::fs::write(&path, "port 1\nrdbchecksum no\n").unwrap();
        for flag in ["--check-config", "--test-config"] {
            let Ok(Startup::Checked(text)) = parse_with(&[flag, name], &[], "") else { panic!() };
            assert!(text.ends_with(&format!("{name}: OK")), "{text}");
            assert!(text.starts_with("warning: "), "{text}");
        }
        std::fs::write(&path, "port 1\n\nmaxclient 2\n").unwrap();
        let said = format!("{name}:3: unknown directive 'maxclient'; did you mean 'maxclients'?");
        assert_eq!(refusal(&["--check-config", name]), said);
        assert_eq!(refusal(&[name]), said);
        std::fs::write(&path, "port 1\n").unwrap();
        assert_eq!(run(&[name, "--hz", "20"]).file(), Some(path.clone()));
    }

    #[test]
    fn help_is_grouped_and_names_every_directive_that_does_something() {
        for flag in ["--help", "-h"] {
            let Ok(Startup::Help(text)) = parse_with(&[flag], &[], "") else { panic!() };
            for row in TABLE.iter().filter(|row| !row.is(Flags::ACCEPTED)) {
                assert!(text.contains(&format!("--{} ", row.name)), "{}", row.name);
            }
            for group in ["General:", "Network:", "Memory:", "Cluster and replication:"] {
                assert!(text.contains(group), "{group}");
            }
            assert!(!text.contains("tls-ca-cert-dir"));
        }
        let Ok(Startup::Help(text)) = parse_with(&["--port", "1", "--help"], &[], "") else {
            panic!()
        };
        assert!(text.contains("dse-server [FILE | -]"));
    }

    #[test]
    fn the_version_is_one_line() {
        for flag in ["--version", "-v"] {
            let Ok(Startup::Version(text)) = parse_with(&[flag], &[], "") else { panic!() };
            assert!(text.starts_with(concat!("dse ", env!("CARGO_PKG_VERSION"))), "{text}");
        }
    }
}
