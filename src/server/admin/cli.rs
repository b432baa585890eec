//! The command line of `dse-admin`.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The data directory that it is about.
    pub(super) directory: PathBuf,
    pub(super) task: Task,
}

/// What is to be done with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    Check,
    Dump {
        /// The first position, if not all.
        from: Option<u64>,
        /// The last position.
        to: u64,
    },
    Repair {
        /// The owner has agreed to changes.
        agreed: bool,
    },
    Restore {
        to: Until,
        into: PathBuf,
    },
    Import {
        file: PathBuf,
    },
    Export {
        file: PathBuf,
    },
}

/// Where in the history to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// At its end.
    End,
    /// Behind the record at this position.
    Lsn(u64),
    /// Behind the records of this time, ms since 1970.
    Time(u64),
}

/// Reads the command line, the program's name included. What is wrong, and what `--help` prints,
/// comes as an error that knows how to print itself.
pub(super) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Request, clap::Error> {
    let matches = command().try_get_matches_from(line)?;
    let (name, found) = matches.subcommand().unwrap_or(("", &matches));
    let path = |name: &str| found.get_one::<PathBuf>(name).cloned().unwrap_or_default();
    let lsn = |name: &str| number(found, name);
    let (directory, task) = match name {
        "dump" => {
            (path("DIR"), Task::Dump { from: lsn("from"), to: lsn("to").unwrap_or(u64::MAX) })
        }
        "repair" => (path("DIR"), Task::Repair { agreed: found.get_flag("yes") }),
        "restore" => {
            let to = found.get_one("to").copied().unwrap_or(Until::End);
            (path("DIR"), Task::Restore { to, into: path("into") })
        }
        "import" => (path("into"), Task::Import { file: path("FILE") }),
        "export" => (path("DIR"), Task::Export { file: path("FILE") }),
        _ => (path("DIR"), Task::Check),
    };
    Ok(Request { directory, task })
}

fn number(found: &ArgMatches, name: &str) -> Option<u64> {
    found.get_one(name).copied()
}

fn command() -> Command {
    let path =
        |name: &'static str| Arg::new(name).required(true).value_parser(value_parser!(PathBuf));
    let directory = || path("DIR").help("The data directory (the server's --dir)");
    let lsn = |name: &'static str| {
        Arg::new(name).long(name).value_name("LSN").value_parser(value_parser!(u64))
    };
    let into = || path("into").long("into").value_name("DIR").help("A new or empty directory");
    Command::new("dse-admin")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Looks at the data directory of a dse-server, mends it, carries data in and out")
        .after_help("Exit code: 0 all is well, 1 damage, 2 it could not look.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("check")
                .about("Verifies snapshots and log, and tells what the directory holds")
                .arg(directory()),
        )
        .subcommand(
            Command::new("dump")
                .about("Prints the log, one line for each record")
                .arg(directory())
                .arg(lsn("from").help("The first position [default: all]"))
                .arg(lsn("to").help("The last position [default: all]")),
        )
        .subcommand(
            Command::new("repair")
                .about("Cuts a damaged log in front of the damage; keeps what it cuts off")
                .arg(directory())
                .arg(
                    Arg::new("yes")
                        .long("yes")
                        .action(ArgAction::SetTrue)
                        .help("Do it; without this flag it only says what it would do"),
                ),
        )
        .subcommand(
            Command::new("restore")
                .about("Writes the data of an earlier moment into a new directory")
                .arg(directory())
                .arg(
                    Arg::new("to")
                        .long("to")
                        .value_name("LSN|TIME")
                        .required(true)
                        .value_parser(parse_until)
                        .help("The last position, or a time in UTC such as 2026-01-31T12:00:00"),
                )
                .arg(into()),
        )
        .subcommand(
            Command::new("import")
                .about("Makes a data directory from an RDB file of Redis")
                .arg(path("FILE").help("The RDB file"))
                .arg(into()),
        )
        .subcommand(
            Command::new("export")
                .about("Writes all data to an RDB file that Redis 7.0 loads")
                .arg(directory())
                .arg(path("FILE").help("The RDB file, which must not be there yet")),
        )
}

/// A position, or a time: `2026-01-31T12:00:00Z`, with a space or without the Z as well.
fn parse_until(text: &str) -> Result<Until, String> {
    if let Ok(lsn) = text.parse() {
        return Ok(Until::Lsn(lsn));
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|error| {
        format!("neither a position nor a time such as 2026-01-31T12:00:00 ({error})")
    })?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| "a time before 1970".to_owned())?;
    u64::try_from(since.as_millis()).map(Until::Time).map_err(|_| "too late a time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        let words = std::iter::once("dse-admin").chain(line.split_whitespace());
        parse(words.map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn each_task_is_understood() {
        let into = PathBuf::from("new");
        for (line, task) in [
            ("check data", Task::Check),
            ("dump data", Task::Dump { from: None, to: u64::MAX }),
            ("dump data --from 7 --to 9", Task::Dump { from: Some(7), to: 9 }),
            ("repair data", Task::Repair { agreed: false }),
            ("repair data --yes", Task::Repair { agreed: true }),
            (
                "restore data --to 4160 --into new",
                Task::Restore { to: Until::Lsn(4160), into: into.clone() },
            ),
            (
                "restore data --to 1970-01-01T00:01:00 --into new",
                Task::Restore { to: Until::Time(60_000), into },
            ),
            ("import dump.rdb --into data", Task::Import { file: "dump.rdb".into() }),
            ("export data dump.rdb", Task::Export { file: "dump.rdb".into() }),
        ] {
            assert_eq!(parsed(line), Ok(Request { directory: "data".into(), task }), "{line}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (line, said) in [
            ("restore data --to yesterday --into new", "neither a position nor a time"),
            ("restore data --to 1", "--into"),
            ("chekc data", "check"),
            ("check", "DIR"),
            ("dump data --from x", "--from"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
