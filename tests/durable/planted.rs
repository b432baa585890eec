//! Directories in which somebody has moved, copied or cut files: what a start says of them, and
//! what `dse-admin repair` makes of them.

use super::files::{commits, filled, flip, forget_what_was_said, listed, refusal};
use super::rounds::end;
use super::{flags, program, start};
use crate::common::server::Server;
use crate::common::value::Value;
use crate::common::wire::{Client, encode};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn call(client: &mut Client, command: &[&str]) -> Value {
    client.call(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn ok(client: &mut Client, command: &[&str]) {
    assert_eq!(call(client, command), Value::Simple(b"OK".into()), "{command:?}");
}

pub fn admin(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dse-admin")).args(args).output().expect("run");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn data(home: &Path) -> String {
    home.join("data").display().to_string()
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// A directory of `k0` to `k99`, with a snapshot behind all of them, and one behind half.
fn saved() -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &["--save", ""]);
    let mut client = server.client();
    for number in 0..100 {
        ok(&mut client, &["SET", &format!("k{number}"), &number.to_string()]);
        if number == 49 || number == 99 {
            ok(&mut client, &["SAVE"]);
        }
    }
    server.kill();
    home
}

/// How many of the keys are there, which must be the first ones.
fn prefix(server: &Server) -> i64 {
    let mut client = server.client();
    let Value::Int(count) = call(&mut client, &["DBSIZE"]) else { panic!("no number") };
    for number in 0..count {
        let have = call(&mut client, &["GET", &format!("k{number}")]);
        assert_eq!(have, Value::bulk(number.to_string()), "{count} keys");
    }
    count
}

#[test]
fn a_log_that_ends_before_a_snapshot_knew_it_to_is_refused_and_repaired_to_a_prefix() {
    let home = saved();
    let path = filled(home.path()).remove(0);
    let all = commits(&path);
    let at = all[all.len() * 3 / 4];
    let file = std::fs::File::options().write(true).open(&path).expect("opened");
    let len = file.metadata().expect("there").len();
    file.write_all_at(&vec![0; (len - at) as usize], at).expect("cleared");
    forget_what_was_said(home.path());
    let line = refusal(home.path());
    assert!(line.contains(&name(&path)) && line.contains(&format!("offset {at}")), "{line}");
    assert!(line.contains("dse-admin"), "{line}");
    let (code, told) = admin(&["check", &data(home.path())]);
    assert_eq!(code, Some(1), "{told}");
    let (code, told) = admin(&["repair", &data(home.path())]);
    assert!(code == Some(1) && told.contains("are lost"), "{code:?}: {told}");
    let (code, told) = admin(&["repair", &data(home.path()), "--yes"]);
    assert_eq!(code, Some(0), "{told}");
    let server = start(home.path(), &["--save", ""]);
    let count = prefix(&server);
    assert!((50..99).contains(&count), "{count} keys");
}

#[test]
fn a_file_of_the_log_that_a_snapshot_needs_is_missed_by_name() {
    let home = saved();
    let logs = listed(home.path(), "log-");
    let aside = home.path().join("aside");
    std::fs::create_dir(&aside).expect("made");
    let moved: Vec<PathBuf> = logs.iter().map(|path| aside.join(name(path))).collect();
    // All of them, and the one that is needed.
    for count in [logs.len(), 1] {
        for (path, to) in logs.iter().zip(&moved).take(count) {
            std::fs::rename(path, to).expect("moved");
        }
        forget_what_was_said(home.path());
        let line = refusal(home.path());
        assert!(line.contains("position") && !line.contains("last file"), "{line}");
        for (path, to) in logs.iter().zip(&moved).take(count) {
            std::fs::rename(to, path).expect("moved back");
        }
    }
    assert_eq!(prefix(&start(home.path(), &["--save", ""])), 100);
}

#[test]
fn files_of_another_database_are_refused_and_both_are_named() {
    let (mine, other) = (saved(), saved());
    let foreign = filled(other.path()).remove(0);
    let snapshot = listed(mine.path(), "snapshot-").pop().expect("a snapshot");
    let own: Vec<PathBuf> = listed(mine.path(), "log-");
    let kept = mine.path().join("kept");
    std::fs::rename(mine.path().join("data"), &kept).expect("moved");
    // Its log beside my snapshots.
    std::fs::create_dir(mine.path().join("data")).expect("made");
    for path in std::fs::read_dir(&kept).expect("listed").flatten() {
        let is_log = name(&path.path()).starts_with("log-");
        let from =
            if is_log { other.path().join("data").join(path.file_name()) } else { path.path() };
        std::fs::copy(from, mine.path().join("data").join(path.file_name())).expect("copied");
    }
    forget_what_was_said(mine.path());
    let line = refusal(mine.path());
    assert!(line.contains(&name(&foreign)) && line.contains(&name(&snapshot)), "{line}");
    // A snapshot of another life in front of mine.
    let _ = std::fs::remove_dir_all(mine.path().join("data"));
    std::fs::rename(&kept, mine.path().join("data")).expect("moved back");
    let theirs = listed(other.path(), "snapshot-").pop().expect("a snapshot");
    let planted = mine.path().join("data/snapshot-00000000ffffffff.dse");
    std::fs::copy(&theirs, &planted).expect("copied");
    forget_what_was_said(mine.path());
    let line = refusal(mine.path());
    assert!(line.contains(&name(&own[0])) && line.contains(&name(&planted)), "{line}");
    std::fs::remove_file(&planted).expect("removed");
    assert_eq!(prefix(&start(mine.path(), &["--save", ""])), 100);
}

#[test]
fn a_server_without_a_log_gives_its_data_one_number_for_good() {
    let home = tempfile::tempdir().expect("a directory");
    let no_log = ["--appendonly", "no", "--save", "100000 1"].map(String::from);
    let mut numbers = Vec::new();
    for round in 0..3 {
        let server = Server::dse_in(program(), home.path(), &no_log).expect("started");
        ok(&mut server.client(), &["SET", &format!("k{round}"), &round.to_string()]);
        end(server);
        let (code, told) = admin(&["check", &data(home.path())]);
        assert_eq!(code, Some(0), "{told}");
        let mut words = told.split_whitespace().skip_while(|word| *word != "data").skip(1);
        numbers.push(words.next().expect("a number").to_string());
    }
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    // A log that begins now belongs to them.
    let server = start(home.path(), &["--save", ""]);
    assert_eq!(prefix(&server), 3);
    ok(&mut server.client(), &["SET", "k3", "3"]);
    server.kill();
    assert_eq!(prefix(&start(home.path(), &["--save", ""])), 4);
}

#[test]
fn a_snapshot_that_a_log_was_switched_on_with_can_be_given_up() {
    let home = saved();
    let server = start(home.path(), &["--save", "100000 1"]);
    let mut client = server.client();
    ok(&mut client, &["CONFIG", "SET", "appendonly", "no"]);
    ok(&mut client, &["SET", "k100", "100"]);
    ok(&mut client, &["CONFIG", "SET", "appendonly", "yes"]);
    ok(&mut client, &["SET", "k101", "101"]);
    server.kill();
    let (code, told) = admin(&["check", &data(home.path())]);
    assert!(code == Some(0) && told.contains("switched on at position"), "{code:?}: {told}");
    flip(&listed(home.path(), "snapshot-").pop().expect("a snapshot"), 5000);
    let (code, told) = admin(&["repair", &data(home.path()), "--yes"]);
    assert!(code == Some(0) && told.contains("since is lost"), "{code:?}: {told}");
    assert_eq!(prefix(&start(home.path(), &["--save", ""])), 100);
}

/// The names and bytes of all files.
fn state(home: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(home.join("data")).expect("listed").flatten();
    let read = |path: PathBuf| (name(&path), std::fs::read(&path).expect("read"));
    let mut files: Vec<_> = entries.map(|entry| read(entry.path())).collect();
    files.sort();
    files
}

/// Each record changes a large value, so that the log is short and its replay is long.
#[test]
fn a_signal_while_the_data_is_loaded_ends_the_server_and_changes_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &["--save", ""]);
    let mut client = server.client();
    ok(&mut client, &["SET", "large", &"x".repeat(4_000_000)]);
    let count = 400;
    client.send(&encode(&["APPEND", "large", "y"]).repeat(count));
    for _ in 0..count {
        assert!(matches!(client.read(), Ok(Value::Int(_))));
    }
    server.kill();
    let before = state(home.path());
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::spawn_in(program(), home.path(), &flags(&[])).expect("spawned");
        let until = Instant::now() + Duration::from_secs(20);
        while !is_loading(&server) {
            assert!(Instant::now() < until && server.is_running(), "{}", server.said());
            std::thread::sleep(Duration::from_millis(1));
        }
        let id = server.process_id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("run").success());
        while server.is_running() {
            assert!(Instant::now() < until, "it goes on: {}", server.said());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(server.exit_code(), Some(0), "{}", server.said());
        assert!(state(home.path()) == before, "{signal} changed something");
    }
    let server = start(home.path(), &[]);
    let len = call(&mut server.client(), &["STRLEN", "large"]);
    assert_eq!(len, Value::Int(4_000_000 + count as i64));
}

fn is_loading(server: &Server) -> bool {
    let reply =
        Client::connect(server.address).ok().and_then(|mut client| client.call(&["PING"]).ok());
    matches!(reply, Some(Value::Error(text)) if text.starts_with(b"LOADING"))
}

/// A line of INFO persistence, as a number.
fn info(client: &mut Client, field: &str) -> u64 {
    let text = call(client, &["INFO", "persistence"]);
    let text = String::from_utf8_lossy(text.text().unwrap_or_default()).into_owned();
    let prefix = format!("{field}:");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {field} in {text}"))
}

#[test]
fn a_log_that_is_too_long_makes_snapshots_be_taken_without_rules() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &["--save", "", "--wal-max-bytes", "4mb"]);
    let mut client = server.client();
    let value = "v".repeat(1000);
    let until = Instant::now() + Duration::from_secs(30);
    // What is refused meanwhile is sent again.
    for number in 0..4000 {
        let key = format!("k{}", number % 100);
        while let Value::Error(why) = call(&mut client, &["SET", &key, &value]) {
            assert!(why.starts_with(b"MISCONF") && Instant::now() < until);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    loop {
        let bytes = info(&mut client, "log_position") - info(&mut client, "log_begin");
        if bytes <= 4 << 20 {
            break;
        }
        assert!(Instant::now() < until, "the log stays at {bytes}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(info(&mut client, "rdb_saves") >= 2);
    server.kill();
    assert_eq!(call(&mut start(home.path(), &[]).client(), &["DBSIZE"]), Value::Int(100));
}

#[test]
fn a_log_of_twice_its_bound_takes_no_writes_until_a_snapshot_is_finished() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &["--save", "", "--wal-max-bytes", "2mb"]);
    let mut client = server.client();
    // No snapshot can be written under this name.
    let in_the_way = home.path().join("data/snapshot.tmp");
    std::fs::create_dir(&in_the_way).expect("made");
    let value = "v".repeat(1000);
    let until = Instant::now() + Duration::from_secs(120);
    let why = loop {
        assert!(Instant::now() < until, "nothing is refused");
        if let Value::Error(why) = call(&mut client, &["SET", "k", &value]) {
            break String::from_utf8_lossy(&why).into_owned();
        }
    };
    assert!(why.starts_with("MISCONF") && why.contains("wal-max-bytes"), "{why}");
    assert_eq!(call(&mut client, &["GET", "k"]), Value::bulk(value.clone()), "reads go on");
    assert_eq!(call(&mut client, &["STRLEN", "k"]), Value::Int(1000));
    // The log comes to rest: from here on nothing but snapshots can move its end.
    std::thread::sleep(Duration::from_millis(500));
    std::fs::remove_dir(&in_the_way).expect("removed");
    let until = Instant::now() + Duration::from_secs(120);
    while let Value::Error(_) = call(&mut client, &["SET", "k", "healed"]) {
        assert!(Instant::now() < until, "writes stay refused");
        call(&mut client, &["SAVE"]);
    }
    // Without a bound nothing is refused.
    ok(&mut client, &["CONFIG", "SET", "wal-max-bytes", "0"]);
}
