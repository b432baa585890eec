//! What the kernel is asked for, and in which order: a server under strace. What a system call
//! makes durable cannot be seen after a kill, only after a power cut; but that it was made can.
//! Without strace these tests say so and look at nothing.

use super::{flags, program};
use crate::common::server::Server;
use crate::common::value::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What strace wrote down, line by line, up to the kill.
type Lines = Vec<String>;

fn strace_is_there() -> bool {
    let there = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    let works = there.is_ok_and(|output| output.status.success());
    if !works {
        println!("note: strace is missing or may not trace; system calls are not looked at");
    }
    works
}

/// A program that runs the server and writes its calls to `home/calls`.
fn wrapper(home: &Path) -> PathBuf {
    let path = home.join("traced");
    let calls = "pwritev2,pwrite64,fdatasync,fsync,rename,unlink";
    // -D: the server is the child, and can be killed; -y: descriptors with their paths.
    let strace = format!("strace -D -f -qq -y -o {}/calls -e trace={calls}", home.display());
    let text = format!("#!/bin/sh\nexec {strace} {} \"$@\"\n", program().display());
    std::fs::write(&path, text).expect("written");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("made executable");
    path
}

fn lines(home: &Path) -> Lines {
    let text = std::fs::read_to_string(home.join("calls")).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

/// Writes, two snapshots and a few files of the log, in `mode`; `until` tells from the calls
/// whether enough has happened.
fn traced(mode: &str, until: fn(&Lines) -> bool) -> Lines {
    let home = tempfile::tempdir().expect("a directory");
    let program = wrapper(home.path());
    let server = Server::dse_in(&program, home.path(), &flags(&["--appendfsync", mode]))
        .unwrap_or_else(|error| panic!("{error}"));
    let mut client = server.client();
    for number in 0..60 {
        let key = format!("k{number}");
        let reply = client.call(&["SET", &key, &"v".repeat(100_000)]).expect("a reply");
        assert_eq!(reply, Value::Simple(b"OK".into()));
        if number % 25 == 24 {
            assert_eq!(client.call(&["SAVE"]).expect("a reply"), Value::Simple(b"OK".into()));
        }
    }
    let patience = Instant::now() + Duration::from_secs(20);
    while !until(&lines(home.path())) {
        assert!(Instant::now() < patience, "waited in vain:\n{}", lines(home.path()).join("\n"));
        std::thread::sleep(Duration::from_millis(20));
    }
    server.kill();
    lines(home.path())
}

fn is_write_of_log(line: &&String) -> bool {
    line.contains("pwrite") && line.contains("/log-")
}

fn is_sync_of(line: &str, what: &str) -> bool {
    (line.contains("fdatasync(") || line.contains("fsync(")) && line.contains(what)
}

#[test]
fn with_always_every_write_of_the_log_is_a_durable_one() {
    if !strace_is_there() {
        return;
    }
    let lines = traced("always", |_| true);
    let writes: Vec<(usize, &String)> =
        lines.iter().enumerate().filter(|(_, line)| is_write_of_log(line)).collect();
    assert!(writes.len() >= 60, "hardly anything was written:\n{}", lines.join("\n"));
    // The last one may have been under way at the end.
    for (at, line) in &writes[..writes.len() - 1] {
        let file = line.split(['<', '>']).nth(1).unwrap_or_default();
        let next = lines[at + 1..].iter().position(|line| is_write_of_log(&line));
        let before_next = &lines[at + 1..at + 1 + next.unwrap_or(0)];
        let is_durable =
            line.contains("RWF_DSYNC") || before_next.iter().any(|line| is_sync_of(line, file));
        assert!(is_durable, "not durable when the next one began: {line}");
    }
}

#[test]
fn names_are_made_durable() {
    if !strace_is_there() {
        return;
    }
    let renames = |lines: &Lines| lines.iter().filter(|line| line.contains("rename(")).count();
    let lines = traced("always", |lines| {
        let renamed = lines.iter().rposition(|line| line.contains("rename("));
        let synced = lines.iter().rposition(|line| is_sync_of(line, "/data>"));
        renamed < synced
    });
    assert!(renames(&lines) > 5, "hardly any file got a name:\n{}", lines.join("\n"));
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("rename(")) {
        let name = line.rsplit('"').nth(1).unwrap_or_default();
        let behind = &lines[at + 1..];
        let synced = behind.iter().position(|line| is_sync_of(line, "/data>"));
        let used = behind.iter().position(|l| l.contains("pwrite") && l.contains(name));
        let synced = synced.unwrap_or_else(|| panic!("nobody made this durable: {line}"));
        assert!(used.is_none_or(|used| synced < used), "used before its name was durable: {line}");
    }
}

#[test]
fn with_everysec_the_log_is_synced_by_and_by() {
    if !strace_is_there() {
        return;
    }
    let writes_are_synced = |lines: &Lines| {
        let wrote = lines.iter().rposition(|line| is_write_of_log(&line));
        let synced = lines.iter().rposition(|line| is_sync_of(line, "/log-"));
        wrote < synced
    };
    let lines = traced("everysec", writes_are_synced);
    let durable = lines.iter().filter(is_write_of_log).filter(|line| line.contains("RWF_DSYNC"));
    assert!(durable.count() < 10, "that is what always is for");
}
