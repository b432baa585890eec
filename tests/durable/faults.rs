//! System calls that fail: strace makes the server's writes and syncs return errors, be
//! interrupted, or take long. Needs strace, and is run by `scripts/faults`.

use super::load::{Load, Settled};
use super::{flags, start};
use crate::common::server::Server;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What strace does to which calls, whether clients may be told that the log cannot be written,
/// and further flags.
type Case = (&'static str, bool, &'static [&'static str]);

const CASES: &[Case] = &[
    // One write fails; the rescue works.
    ("pwritev2:error=EIO:when=5", true, &[]),
    ("pwritev2:error=EIO:when=60", true, &[]),
    ("pwritev2:error=ENOSPC:when=61", true, &[]),
    // So does the rescue fail, and all that follows.
    ("pwritev2:error=EIO:when=50+", true, &[]),
    ("pwritev2:error=ENOSPC:when=50+", true, &[]),
    // Every seventh write fails.
    ("pwritev2:error=EIO:when=20+7", true, &[]),
    // What an application does not see.
    ("pwritev2:error=EINTR:when=3+2", false, &[]),
    ("pwritev2:delay_enter=20000", false, &[]),
    ("pwritev2:delay_exit=20000", false, &[]),
    // Syncs fail.
    ("fdatasync:error=EIO:when=4+", true, &["--appendfsync", "everysec"]),
    ("fsync:error=EIO:when=3+", true, &[]),
];

/// A program that runs the server with the fault.
fn wrapper(home: &Path, fault: &str) -> PathBuf {
    let path = home.join("faulty");
    let program = super::program().display();
    // -D: the server is the child, and can be killed; strace goes with it.
    let calls = fault.split(':').next().unwrap_or_default();
    let strace = format!("strace -D -f -qq -o /dev/null -e trace={calls} -e inject={fault}");
    let text = format!("#!/bin/sh\nexec {strace} {program} \"$@\"\n");
    std::fs::write(&path, text).expect("written");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("made executable");
    path
}

fn try_case((fault, may_fail, more): &Case) -> Result<u64, String> {
    let home = tempfile::tempdir().expect("a directory");
    let program = wrapper(home.path(), fault);
    let server = match Server::dse_in(&program, home.path(), &flags(more)) {
        Ok(server) => server,
        // The first file could not be made: a clear refusal is right as well.
        Err(said) if *may_fail && !said.contains("panicked") => return Ok(0),
        Err(said) => return Err(said),
    };
    let load = match may_fail {
        true => Load::start_on_failing_disk(server.address, 0),
        false => Load::start(server.address, 0),
    };
    std::thread::sleep(Duration::from_millis(1500));
    let said = server.said();
    server.kill();
    let histories = load.finish()?;
    if said.contains("panicked") {
        return Err(said);
    }
    Settled::default().verify(&start(home.path(), more), &histories)?;
    Ok(histories.iter().map(|history| history.acknowledged).sum())
}

#[test]
#[ignore = "needs strace; scripts/faults runs it"]
fn failing_calls_lose_nothing_that_was_acknowledged() {
    let mut wrong = Vec::new();
    for case in CASES {
        match try_case(case) {
            Ok(acknowledged) => println!("{}: {acknowledged} operations acknowledged", case.0),
            Err(error) => wrong.push(format!("{}: {error}", case.0)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
