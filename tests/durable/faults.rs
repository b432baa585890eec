//! What a system can refuse. strace makes the server's writes and syncs return errors, be
//! interrupted, write less than they were asked to, or take long; a file system gets full; memory
//! runs out. Needs strace and, for the latter two, root; run by `scripts/faults`.

use super::load::{Load, Settled};
use super::power::Volume;
use super::{flags, program, start};
use crate::common::server::Server;
use crate::common::value::Value;
use crate::common::wire::Client;
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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
    ("fdatasync:error=EINTR:when=1+2", false, &["--appendfsync", "everysec"]),
    ("fsync:error=EINTR:when=1+2", false, &[]),
    // Writes that take less than they were given: a part of the first block, or nothing.
    ("pwritev2:retval=512:when=3+3", false, &[]),
    ("pwritev2:retval=512:when=50+", true, &[]),
    ("pwritev2:retval=0:when=60", true, &[]),
    ("pwritev2:retval=0:when=50+9", true, &[]),
    ("pwritev2:delay_enter=20000", false, &[]),
    ("pwritev2:delay_exit=20000", false, &[]),
    // Syncs fail.
    ("fdatasync:error=EIO:when=4+", true, &["--appendfsync", "everysec"]),
    ("fsync:error=EIO:when=3+", true, &[]),
    // Files do not get their names.
    ("rename:error=EIO:when=2+", true, &[]),
    ("rename:error=ENOSPC:when=4+2", true, &[]),
];

/// A program that runs the server with the fault.
fn wrapper(home: &Path, fault: &str) -> PathBuf {
    // -D: the server is the child, and can be killed; strace goes with it.
    let calls = fault.split(':').next().unwrap_or_default();
    script(home, &format!("exec {}", strace(&format!("-e trace={calls} -e inject={fault}"))))
}

fn strace(flags: &str) -> String {
    format!("strace -D -f -qq -o /dev/null {flags}")
}

/// A program that says `before` in front of the server and its flags.
fn script(home: &Path, before: &str) -> PathBuf {
    let path = home.join("wrapped");
    let text = format!("#!/bin/sh\n{before} {} \"$@\"\n", program().display());
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
    std::thread::sleep(Duration::from_millis(700));
    // A snapshot may fail, or be too slow to be there at the end.
    let _ = server.client().call(&["BGSAVE"]);
    std::thread::sleep(Duration::from_millis(800));
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

#[test]
#[ignore = "needs strace; scripts/faults runs it"]
fn a_disk_that_cannot_be_read_refuses_the_start_and_harms_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &[]);
    let load = Load::start(server.address, 0);
    std::thread::sleep(Duration::from_millis(600));
    server.kill();
    let histories = load.finish().expect("all was well");
    // Not what the loader of programs reads.
    let entries = std::fs::read_dir(home.path().join("data")).expect("listed").flatten();
    let only: String = entries.map(|entry| format!(" -P {}", entry.path().display())).collect();
    let strace = strace(&format!("{only} -e trace=pread64 -e inject=pread64:error=EIO"));
    let program = script(home.path(), &format!("exec {strace}"));
    let refusal = Server::dse_in(&program, home.path(), &flags(&[]));
    let said = refusal.err().expect("it cannot start");
    let is_clear = said.contains("/data/") && said.contains("error") && !said.contains("panicked");
    assert!(is_clear, "{said}");
    let outcome = Settled::default().verify(&start(home.path(), &[]), &histories);
    outcome.unwrap_or_else(|why| panic!("{why}"));
}

fn ok() -> Value {
    Value::Simple(b"OK".into())
}

/// Values of a few hundred bytes under ever new names.
struct Writer {
    client: Client,
    next: u64,
    acknowledged: BTreeSet<u64>,
    refused: BTreeSet<u64>,
}

impl Writer {
    fn new(server: &Server) -> Writer {
        let client = server.client();
        Writer { client, next: 0, acknowledged: BTreeSet::new(), refused: BTreeSet::new() }
    }

    fn value(number: u64) -> String {
        format!("{number}.").repeat(3000)
    }

    /// One write; whether it was accepted.
    fn write(&mut self) -> bool {
        let number = self.next;
        self.next += 1;
        let key = format!("w{number}");
        let reply = self.client.call(&["SET", &key, &Writer::value(number)]).expect("a reply");
        let accepted = reply == ok();
        assert!(accepted || reply.pretty().contains("MISCONF"), "{}", reply.pretty());
        if accepted {
            self.acknowledged.insert(number)
        } else {
            self.refused.insert(number)
        };
        accepted
    }

    /// Writes until the server's answer is `accepted`.
    fn until(&mut self, accepted: bool) {
        let patience = Instant::now() + Duration::from_secs(30);
        while self.write() != accepted {
            assert!(Instant::now() < patience, "writes are never answered so: {accepted}");
            if accepted {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// What is there is what was acknowledged.
    fn verify(&self, client: &mut Client) {
        for number in 0..self.next {
            let found = client.call(&["GET", &format!("w{number}")]).expect("a reply");
            match self.acknowledged.contains(&number) {
                true => assert!(found == Value::bulk(Writer::value(number)), "w{number} is lost"),
                false => assert_eq!(found, Value::NilBulk, "w{number} was refused"),
            }
        }
    }
}

#[test]
#[ignore = "needs root; scripts/faults runs it"]
fn a_full_disk_refuses_writes_serves_reads_and_heals() {
    let home = tempfile::tempdir().expect("a directory");
    let volume = Volume::new(home.path(), 200);
    volume.mount(false);
    let server = start(home.path(), &[]);
    let mut writer = Writer::new(&server);
    for round in 0..3 {
        (0..50).for_each(|_| assert!(writer.write()));
        let filler = home.path().join("data/filler");
        let mut file = std::fs::File::create(&filler).expect("made");
        while file.write_all(&[1; 65536]).is_ok() {}
        writer.until(false);
        writer.verify(&mut server.client());
        let saved = server.client().call(&["SAVE"]).expect("a reply");
        assert!(saved == ok() || saved.is_error(), "{}", saved.pretty());
        drop(file);
        std::fs::remove_file(&filler).expect("removed");
        writer.until(true);
        let saved = server.client().call(&["SAVE"]).expect("a reply");
        assert_eq!(saved, ok(), "there is room in round {round}");
    }
    writer.verify(&mut server.client());
    server.kill();
    let server = start(home.path(), &[]);
    writer.verify(&mut server.client());
    let (kept, refused) = (writer.acknowledged.len(), writer.refused.len());
    println!("a full disk: {kept} writes acknowledged and there, {refused} refused and not");
    assert!(refused > 3);
    server.kill();
    volume.unmount();
}

/// Fills the memory of a server until it ends, or refuses.
fn exhaust(home: &Path, program: &Path) -> Result<(u64, bool), String> {
    let mut server = Server::dse_in(program, home, &flags(&[]))?;
    let load = Load::start_on_failing_disk(server.address, 0);
    let (mut client, mut kept, mut refused) = (server.client(), 0, false);
    let value = "x".repeat(1 << 20);
    let patience = Instant::now() + Duration::from_secs(40);
    while server.is_running() && !refused && Instant::now() < patience {
        match client.call(&["SET", &format!("big{kept}"), &value]) {
            Ok(reply) if reply == ok() => kept += 1,
            Ok(reply) => refused = reply.is_error(),
            Err(_) => break, // It has ended, or is about to.
        }
    }
    assert!(refused || Instant::now() < patience, "memory does not run out after {kept} MiB");
    let said = server.said();
    server.kill();
    let histories = load.finish()?;
    if said.contains("panicked") {
        return Err(said);
    }
    let server = start(home, &[]);
    Settled::default().verify(&server, &histories)?;
    let mut client = server.client();
    for number in 0..kept {
        let length = client.call(&["STRLEN", &format!("big{number}")]);
        if length != Ok(Value::Int(1 << 20)) {
            return Err(format!("big{number} of {kept} is lost: {length:?}"));
        }
    }
    Ok((kept, refused))
}

fn tell(kind: &str, outcome: Result<(u64, bool), String>) {
    let (kept, refused) = outcome.unwrap_or_else(|why| panic!("{why}"));
    let how = if refused { "it refused" } else { "it ended" };
    println!("{kind}: {how} with {kept} MiB acknowledged, all of it there after a start");
    assert!(kept > 10);
}

#[test]
#[ignore = "takes memory; scripts/faults runs it"]
fn a_server_out_of_address_space_loses_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    // The allocator takes address space in large pieces, which would take long to fill.
    let frugal = "export MIMALLOC_ARENA_RESERVE=64MiB\n";
    let program = script(home.path(), &format!("{frugal}exec"));
    let server = Server::dse_in(&program, home.path(), &flags(&[]));
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id()));
    server.kill();
    let status = status.expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).expect("it is there");
    let peak_kb: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    let limit = format!("{frugal}ulimit -v {}\nexec", peak_kb + 150_000);
    let program = script(home.path(), &limit);
    tell("address space", exhaust(home.path(), &program));
}

/// A control group with little memory; removed when dropped.
struct Group(PathBuf);

impl Group {
    /// `None` where control groups cannot be made.
    fn new(bytes: u64) -> Option<Group> {
        let name = format!("dse-test-{}", std::process::id());
        for (home, limit) in [("memory", "memory.limit_in_bytes"), ("", "memory.max")] {
            let group = Group(Path::new("/sys/fs/cgroup").join(home).join(&name));
            let limited = std::fs::create_dir(&group.0)
                .and_then(|()| std::fs::write(group.0.join(limit), bytes.to_string()));
            if limited.is_ok() {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // An empty directory that stays is all that can go wrong.
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
#[ignore = "needs root; scripts/faults runs it"]
fn a_server_that_is_killed_for_its_memory_loses_nothing() {
    let Some(group) = Group::new(300 << 20) else {
        println!("note: control groups cannot be made here; nothing is tried");
        return;
    };
    let home = tempfile::tempdir().expect("a directory");
    let enter = format!("echo $$ > {}/cgroup.procs\nexec", group.0.display());
    let program = script(home.path(), &enter);
    tell("control group", exhaust(home.path(), &program));
}
