//! What a start makes of the files: whole, cut, damaged, in use.

use super::rounds::end;
use super::{flags, program, start};
use crate::common::generate::Generator;
use crate::common::random::Random;
use crate::common::server::Server;
use crate::common::value::Value;
use crate::common::wire::{Client, encode};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Every key with its DUMP and its deadline.
type Contents = BTreeMap<Vec<u8>, (Vec<u8>, Value)>;

fn call(client: &mut Client, command: &[&str]) -> Value {
    client.call(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn ok(client: &mut Client, command: &[&str]) {
    let reply = call(client, command);
    assert_eq!(reply, Value::Simple(b"OK".into()), "{command:?}");
}

fn contents(server: &Server) -> Contents {
    let mut client = server.client();
    let mut all = Contents::new();
    for db in 0..3_u8 {
        ok(&mut client, &["SELECT", &db.to_string()]);
        let keys = call(&mut client, &["KEYS", "*"]);
        for key in keys.elements().expect("an array").iter().filter_map(Value::text) {
            let dump = client.call(&[b"DUMP".as_slice(), key]).expect("a reply");
            let deadline = client.call(&[b"PEXPIRETIME".as_slice(), key]).expect("a reply");
            let Value::Bulk(dump) = dump else { continue };
            all.insert([&[db], key].concat(), (dump, deadline));
        }
    }
    all
}

/// Random commands of every family.
fn mix(client: &mut Client, generator: &mut Generator, count: usize) {
    for _ in 0..count {
        let command = generator.command();
        client.call(&command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }
    // A transaction that is still open would queue what the test says next; without one this is
    // an error, which does not matter.
    call(client, &["DISCARD"]);
}

/// Asks for a snapshot and waits until it is there.
fn save(client: &mut Client) {
    ok(client, &["SAVE"]);
}

fn data(home: &Path) -> PathBuf {
    home.join("data")
}

/// The files whose names begin with `prefix`, in order.
pub fn listed(home: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data(home)).expect("listed").flatten();
    let is_wanted = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with(prefix) && name.ends_with(".dse"))
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_wanted).collect();
    paths.sort();
    paths
}

pub fn flip(path: &Path, offset: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).expect("opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[byte[0] ^ 0x55], offset).expect("written");
}

/// Offsets of the commits in a file of the log.
pub fn commits(path: &Path) -> Vec<u64> {
    let bytes = std::fs::read(path).expect("read");
    let begins = |at: &usize| bytes[*at..].starts_with(b"DWC2");
    (0..bytes.len()).step_by(4096).filter(begins).map(|at| at as u64).collect()
}

/// Files of the log that hold commits, the last one last.
pub fn filled(home: &Path) -> Vec<PathBuf> {
    listed(home, "log-").into_iter().filter(|path| !commits(path).is_empty()).collect()
}

/// The one line in which a server says why it does not start.
pub fn refusal(home: &Path) -> String {
    let mut server = Server::spawn_in(program(), home, &flags(&[])).expect("spawned");
    let until = Instant::now() + Duration::from_secs(20);
    while server.is_running() {
        assert!(Instant::now() < until, "it runs: {}", server.said());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(server.exit_code(), Some(1), "{}", server.said());
    let said = server.said();
    assert!(!said.contains("panicked"), "{said}");
    said.lines().last().unwrap_or_default().to_string()
}

pub fn forget_what_was_said(home: &Path) {
    let _ = std::fs::remove_file(home.join("said"));
}

#[test]
fn all_types_come_back_from_snapshot_and_log() {
    let seed = super::seed();
    let home = tempfile::tempdir().expect("a directory");
    let mut generator = Generator::new(seed);
    for round in 0..6 {
        let server = start(home.path(), &[]);
        let mut client = server.client();
        mix(&mut client, &mut generator, 400);
        if round % 3 != 0 {
            save(&mut client);
            mix(&mut client, &mut generator, 400);
        }
        let before = contents(&server);
        if round % 2 == 0 {
            server.kill()
        } else {
            end(server)
        }
        let after = contents(&start(home.path(), &[]));
        for (key, value) in &before {
            let name = String::from_utf8_lossy(key);
            assert_eq!(after.get(key), Some(value), "{name} in round {round}, seed {seed}");
        }
        assert_eq!(after.len(), before.len(), "round {round}, seed {seed}");
    }
}

#[test]
fn a_snapshot_of_a_quiet_log_leaves_no_hole_behind() {
    let home = tempfile::tempdir().expect("a directory");
    for round in 0..5 {
        let server = start(home.path(), &[]);
        let mut client = server.client();
        assert_eq!(call(&mut client, &["INCR", "i"]), Value::Int(round + 1));
        if round < 3 {
            save(&mut client);
        }
        server.kill();
    }
}

#[test]
fn values_and_transactions_beyond_a_record_survive() {
    let home = tempfile::tempdir().expect("a directory");
    let mut random = Random::new(super::seed());
    let sizes = [200_000, 261_000, 262_000, 262_144, 300_000, 1_048_576, 3_000_000, 3_333_333];
    let mut values = Vec::new();
    for (index, size) in sizes.iter().enumerate() {
        let filler = random.next().to_le_bytes();
        let value: Vec<u8> = filler.iter().copied().cycle().take(*size).collect();
        values.push((format!("v{index}").into_bytes(), value));
    }
    let server = start(home.path(), &[]);
    let mut client = server.client();
    for (key, value) in &values {
        client.call(&[b"SET".as_slice(), key, value]).expect("a reply");
        client.call(&[b"APPEND".as_slice(), key, b"more"]).expect("a reply");
        client.call(&[b"RPUSH", b"list".as_slice(), value]).expect("a reply");
    }
    ok(&mut client, &["MULTI"]);
    for (key, value) in &values {
        client.call(&[b"SET".as_slice(), &[b"t", &key[..]].concat(), value]).expect("a reply");
    }
    let reply = call(&mut client, &["EXEC"]);
    assert_eq!(reply.elements().map(<[Value]>::len), Some(values.len()));
    let before = contents(&server);
    assert_eq!(before.len(), 2 * values.len() + 1);
    server.kill();
    let server = start(home.path(), &[]);
    assert!(contents(&server) == before, "after a kill");
    save(&mut server.client());
    server.kill();
    assert!(contents(&start(home.path(), &[])) == before, "from a snapshot");
}

/// A start reads the file that holds what a snapshot needs from its beginning on, where it may find
/// the end of a request whose beginning lies in a file before it.
#[test]
fn a_body_that_ends_in_front_of_what_is_needed_is_passed_over() {
    let home = tempfile::tempdir().expect("a directory");
    for round in 0..6 {
        let server = start(home.path(), &["--save", ""]);
        let mut client = server.client();
        // Longer than half a file: every other one lies in two.
        ok(&mut client, &["SET", "k", &round.to_string().repeat(700_000)]);
        save(&mut client);
        let before = contents(&server);
        server.kill();
        assert!(contents(&start(home.path(), &[])) == before, "round {round}");
    }
}

#[test]
fn a_body_whose_client_left_or_whose_server_died_is_as_if_never_sent() {
    let home = tempfile::tempdir().expect("a directory");
    for round in 0..4 {
        let server = start(home.path(), &[]);
        let mut client = server.client();
        ok(&mut client, &["SET", "k", "v"]);
        let big = vec![b'x'; 3_000_000];
        let mut other = server.client();
        other.send(&encode(&[b"SET", b"big".as_slice(), &big]));
        std::thread::sleep(Duration::from_millis(round * 3));
        drop(other);
        server.kill();
        let server = start(home.path(), &[]);
        let mut client = server.client();
        let len = call(&mut client, &["STRLEN", "big"]);
        assert!(matches!(len, Value::Int(0 | 3_000_000)), "{}", len.pretty());
        assert_eq!(call(&mut client, &["GET", "k"]), Value::bulk("v"));
        call(&mut client, &["DEL", "big"]);
        end(server);
    }
}

/// A directory whose log ends behind many acknowledged writes.
fn killed() -> (tempfile::TempDir, Contents) {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &[]);
    let mut client = server.client();
    for number in 0..100 {
        ok(&mut client, &["SET", &format!("k{number}"), &"v".repeat(number * 10)]);
    }
    let before = contents(&server);
    server.kill();
    (home, before)
}

#[test]
fn a_torn_tail_is_cut_and_reported_with_file_and_offset() {
    let (home, before) = killed();
    for round in 0..6_u64 {
        let path = filled(home.path()).pop().expect("a file");
        let last = *commits(&path).last().expect("a commit");
        // A write that a power cut stopped: it claims its position, and its bytes do not fit.
        let next = last + 4096;
        let file = std::fs::File::options().read(true).write(true).open(&path).expect("opened");
        let mut block = vec![0; 4096];
        file.read_exact_at(&mut block, last).expect("read");
        let lsn = u64::from_le_bytes(block[8..16].try_into().expect("eight")) + 4096;
        block[8..16].copy_from_slice(&lsn.to_le_bytes());
        file.write_all_at(&block, next).expect("written");
        if round == 5 {
            file.set_len(next + 100).expect("cut");
        }
        forget_what_was_said(home.path());
        let server = start(home.path(), &[]);
        let said = server.said();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(said.contains(&name) && said.contains(&format!("offset {next}")), "{said}");
        assert_eq!(said.lines().filter(|line| line.contains("torn")).count(), 1, "{said}");
        assert!(contents(&server) == before);
        // Something to find in the next round's file.
        ok(&mut server.client(), &["SET", "k0", ""]);
        std::thread::sleep(Duration::from_millis(60));
        server.kill();
    }
    forget_what_was_said(home.path());
    let server = start(home.path(), &[]);
    assert!(!server.said().contains("torn"), "once is enough: {}", server.said());
}

#[test]
fn damage_below_what_was_acknowledged_refuses_the_start_in_one_line() {
    let (home, before) = killed();
    let path = filled(home.path()).remove(0);
    let all = commits(&path);
    for at in [all[0], all[all.len() / 2], all[all.len() - 4]] {
        for inside in [0, 4, 9, 70] {
            flip(&path, at + inside);
            forget_what_was_said(home.path());
            let line = refusal(home.path());
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            assert!(line.contains(&name) && line.contains(&format!("offset {at}")), "{line}");
            flip(&path, at + inside);
        }
    }
    assert!(contents(&start(home.path(), &[])) == before, "mended");
}

#[test]
fn a_missing_file_in_the_middle_refuses_the_start() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &[]);
    let mut client = server.client();
    for number in 0..60 {
        ok(&mut client, &["SET", &format!("k{number}"), &"v".repeat(100_000)]);
    }
    server.kill();
    let files = filled(home.path());
    assert!(files.len() > 4);
    for path in [&files[0], &files[2]] {
        let aside = home.path().join("aside");
        std::fs::rename(path, &aside).expect("moved");
        forget_what_was_said(home.path());
        let line = refusal(home.path());
        assert!(line.contains("log") && line.contains("position"), "{line}");
        std::fs::rename(&aside, path).expect("moved back");
    }
    assert_eq!(contents(&start(home.path(), &[])).len(), 60);
}

#[test]
fn a_second_server_in_the_directory_is_refused_in_one_line() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &[]);
    ok(&mut server.client(), &["SET", "k", "v"]);
    forget_what_was_said(home.path());
    let line = refusal(home.path());
    assert!(line.contains("another server") && line.contains("data"), "{line}");
    assert_eq!(call(&mut server.client(), &["GET", "k"]), Value::bulk("v"));
}

#[test]
fn a_damaged_snapshot_is_passed_over_for_the_one_before_it() {
    let home = tempfile::tempdir().expect("a directory");
    let mut generator = Generator::new(super::seed());
    let server = start(home.path(), &[]);
    let mut client = server.client();
    for _ in 0..3 {
        mix(&mut client, &mut generator, 300);
        ok(&mut client, &["SET", "large", &"v".repeat(200_000)]);
        save(&mut client);
    }
    mix(&mut client, &mut generator, 100);
    let before = contents(&server);
    server.kill();
    let newest = listed(home.path(), "snapshot-").pop().expect("a snapshot");
    let len = std::fs::metadata(&newest).expect("there").len();
    for at in [0, 5000, len / 2, len - 4000, len - 10] {
        flip(&newest, at);
        forget_what_was_said(home.path());
        let server = start(home.path(), &[]);
        let is_same = contents(&server) == before;
        assert!(is_same, "damage at {at} of {len}; it said: {}", server.said());
        server.kill();
        flip(&newest, at);
    }
}
