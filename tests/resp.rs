//! Scripts with expected replies, run against dse-server *and* against redis-server: both must
//! answer what the file says. A script is a file `tests/resp/*.txt`:
//!
//! ```text
//! # a comment
//! > SET key "two words\r\n"        a command, quoted as in redis-cli; {1000*x} is a long argument
//! +OK
//! > LRANGE list 0 -1
//! ["a" "b"]
//! @conn 2                          go on with another connection
//! ! SUBSCRIBE news                 send, and do not wait for a reply
//! <                                read one reply (or pushed message) now
//! *
//! ```
//!
//! `>>` and `!!` send quoted bytes as they are. `@let x` names the last reply, `$x` uses it.
//! Further directives: `@resp3`, `@sleep MS`, `@half-close`, `@close`; at the head of a script
//! `@only dse` and `@server --flag value`. Replies are written as in `common/value.rs`, with the
//! wildcards of `resp/expect.rs`.
//!
//! `REWRITE=1 cargo test --test resp` writes redis-server's replies where they do not match;
//! wildcards that match stay. `ONLY=name` runs the scripts whose name contains it.

mod common;
#[path = "resp/expect.rs"]
mod expect;
#[path = "resp/run.rs"]
mod run;
#[path = "resp/script.rs"]
mod script;

use common::server::{Server, redis_is_there};
use run::Outcome;
use script::Script;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Scripts that run at the same time, each with a server of its own.
const PARALLEL: usize = 4;

#[test]
fn dse_answers_what_the_scripts_say() {
    let program = Path::new(env!("CARGO_BIN_EXE_dse-server"));
    report(run_all("dse", |flags| Server::dse(program, flags), |_, _| {}));
}

#[test]
fn redis_answers_what_the_scripts_say() {
    if !redis_is_there() {
        println!("skipped: there is no redis-server 7.0 on the path");
        return;
    }
    let rewrite = std::env::var_os("REWRITE").is_some();
    let failures = run_all("redis", Server::redis, |path, outcome| {
        if rewrite && !outcome.failures.is_empty() {
            std::fs::write(path, &outcome.rewritten).expect("a script can be written");
        }
    });
    if !rewrite {
        report(failures);
    }
}

fn report(failures: Vec<String>) {
    let count = failures.len();
    assert!(count == 0, "\n{}\n{count} scripts answered otherwise\n", failures.join("\n"));
}

/// Every script of the directory, sorted by name.
fn scripts() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/resp");
    let wanted = std::env::var("ONLY").unwrap_or_default();
    let entries = std::fs::read_dir(directory).expect("the scripts can be read");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        path.extension().is_some_and(|e| e == "txt") && name.contains(&wanted)
    });
    paths.sort();
    paths
}

/// Runs all scripts that are for `target`; gives one text for each that failed.
fn run_all(
    target: &str,
    start: impl Fn(&[String]) -> Result<Server, String> + Sync,
    done: impl Fn(&Path, &Outcome) + Sync,
) -> Vec<String> {
    let paths = scripts();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let told = run_one(path, target, &start, &done);
            if let Err(told) = told {
                failures.lock().expect("no thread panics").push(format!("{name}: {told}"));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().expect("no thread panics");
    failures.sort();
    failures
}

fn run_one(
    path: &Path,
    target: &str,
    start: &impl Fn(&[String]) -> Result<Server, String>,
    done: &impl Fn(&Path, &Outcome),
) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let script = Script::parse(&text)?;
    if script.only.as_ref().is_some_and(|only| only != target) {
        return Ok(());
    }
    let server = start(&script.flags)?;
    let outcome = run::run(&script, &server);
    done(path, &outcome);
    match outcome.failures.is_empty() {
        true => Ok(()),
        false => Err(format!("{target} answers otherwise\n{}", outcome.failures.join("\n"))),
    }
}
