//! `dse-admin` on directories that real servers wrote: what it finds, mends and carries over.

mod common;

use common::server::{Server, redis_is_there};
use redis::{Connection, cmd};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

const SERVER: &str = env!("CARGO_BIN_EXE_dse-server");

fn dse(directory: &Path, flags: &[&str]) -> Server {
    let fixed = ["--appendonly", "yes", "--save", "", "--wal-segment-bytes", "1mb", "--dir"];
    let here = directory.display().to_string();
    let mut all: Vec<String> = fixed.iter().map(|flag| (*flag).to_owned()).collect();
    all.push(here);
    all.extend(flags.iter().map(|flag| (*flag).to_owned()));
    Server::dse(Path::new(SERVER), &all).expect("dse-server starts")
}

fn connect(server: &Server) -> Connection {
    let client = redis::Client::open(format!("redis://{}/", server.address)).expect("an address");
    let mut connection = client.get_connection().expect("a connection");
    // Who comes early is told that the data is being loaded.
    for _ in 0..10_000 {
        if cmd("EXISTS").arg("k").exec(&mut connection).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    connection
}

fn admin(words: &[&str]) -> (i32, String) {
    let program = env!("CARGO_BIN_EXE_dse-admin");
    told(Command::new(program).args(words).output().expect("dse-admin runs"))
}

/// Exit code, and what was said on both outputs.
fn told(output: Output) -> (i32, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&text).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

fn set(connection: &mut Connection, key: &str, value: &str) {
    cmd("SET").arg(key).arg(value).exec(connection).expect("written");
}

fn get(connection: &mut Connection, key: &str) -> Option<String> {
    cmd("GET").arg(key).query(connection).expect("read")
}

/// Writes `count` keys one by one, so that each is a commit of its own.
fn fill(directory: &Path, count: usize) {
    let server = dse(directory, &[]);
    let mut connection = connect(&server);
    for n in 0..count {
        set(&mut connection, &format!("key:{n}"), &format!("value:{n}"));
    }
}

/// The files of a directory whose names begin and end so, by name.
fn files(directory: &Path, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    let fits = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(prefix) && name.ends_with(suffix)
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(fits).collect();
    found.sort();
    found
}

fn flip(file: &Path, offset: usize) {
    let mut bytes = fs::read(file).expect("read");
    bytes[offset] ^= 0x10;
    fs::write(file, bytes).expect("written");
}

/// The position of the record of a dump that contains `what`.
fn position_of(dump: &str, what: &str) -> u64 {
    let line = dump.lines().find(|line| line.contains(what)).expect(what);
    line.split(' ').next().and_then(|word| word.parse().ok()).expect("a position")
}

#[test]
fn a_whole_directory_is_told_and_damage_is_found_and_repaired() {
    let home = tempfile::tempdir().expect("a directory");
    let here = text(home.path());
    fill(home.path(), 300);
    let (code, said) = admin(&["check", here]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(" 300 records, 300 requests, generation 1,"), "{said}");
    assert!(said.contains("all is well"), "{said}");
    let by_server = Command::new(SERVER).args(["--check", here]).output().expect("it runs");
    assert_eq!(told(by_server), (0, said));

    // In the middle of the log: each commit is one block.
    let log = &files(home.path(), "log-", ".dse")[0];
    let before = fs::read(log).expect("read");
    flip(log, 100 * 4096 + 70);
    let name = log.file_name().and_then(|name| name.to_str()).expect("a name");
    let (code, said) = admin(&["check", here]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("{name} at offset 409600")), "{said}");
    let (code, said) = admin(&["repair", here]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("would: copy") && said.contains("--yes"), "{said}");
    assert!(files(home.path(), "log-", ".damaged").is_empty(), "nothing is changed unasked");

    let (code, said) = admin(&["repair", here, "--yes"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("acknowledged and are lost"), "{said}");
    let kept = fs::read(log.with_extension("dse.damaged")).expect("a copy");
    assert_eq!(kept[4096..], before[101 * 4096..], "what is cut off is kept");
    assert_eq!(admin(&["check", here]).0, 0);
    assert_eq!(admin(&["repair", here, "--yes"]).0, 0, "there is nothing left to do");
    let server = dse(home.path(), &[]);
    let mut connection = connect(&server);
    assert_eq!(get(&mut connection, "key:50").as_deref(), Some("value:50"));
    assert_eq!(get(&mut connection, "key:299"), None);
    let keys: usize = cmd("DBSIZE").query(&mut connection).expect("a number");
    // A prefix, as long as the blocks in front of the damage: some of them carry no record.
    assert!((50..=100).contains(&keys), "{keys} keys");
    set(&mut connection, "after", "repair");
    drop(server);
    let server = dse(home.path(), &[]);
    assert_eq!(get(&mut connect(&server), "after").as_deref(), Some("repair"));
}

#[test]
fn a_damaged_snapshot_is_found_and_put_aside() {
    let home = tempfile::tempdir().expect("a directory");
    let here = text(home.path());
    let server = dse(home.path(), &[]);
    let mut connection = connect(&server);
    set(&mut connection, "old", "1");
    cmd("SAVE").exec(&mut connection).expect("saved");
    set(&mut connection, "new", "2");
    drop(server);
    let (code, said) = admin(&["check", here]);
    assert!(code == 0 && said.contains(" 1 keys (") && said.contains("whole"), "{said}");
    let snapshot = &files(home.path(), "snapshot-", ".dse")[0];
    flip(snapshot, 4096 + 80);
    let (code, said) = admin(&["check", here]);
    assert!(code == 1 && said.contains("is damaged at offset 4096"), "{said}");
    fs::write(home.path().join("snapshot.tmp"), b"half").expect("written");
    let (code, said) = admin(&["repair", here, "--yes"]);
    assert!(code == 0 && said.contains("snapshot.tmp, which was not finished"), "{said}");
    assert_eq!(admin(&["check", here]).0, 0);
    let server = dse(home.path(), &[]);
    let mut connection = connect(&server);
    assert_eq!(get(&mut connection, "old").as_deref(), Some("1"), "the log has it too");
    assert_eq!(get(&mut connection, "new").as_deref(), Some("2"));
}

#[test]
fn a_directory_in_use_or_without_data_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let here = text(home.path());
    let server = dse(home.path(), &[]);
    for words in [&["check", here][..], &["dump", here], &["repair", here, "--yes"]] {
        let (code, said) = admin(words);
        assert!(code == 2 && said.contains("a server is running on"), "{said}");
    }
    drop(server);
    assert_eq!(admin(&["check", "/nowhere/at/all"]).0, 2);
    assert_eq!(admin(&["check"]).0, 2);
    let (code, said) = admin(&["import", "/nowhere.rdb", "--into", here]);
    assert!(code == 2 && said.contains("/nowhere.rdb"), "{said}");
    let empty = tempfile::tempdir().expect("a directory");
    let file = empty.path().join("x.rdb");
    let (code, said) = admin(&["export", text(empty.path()), text(&file)]);
    assert!(code == 1 && said.contains("neither a snapshot nor a log"), "{said}");
}

#[test]
fn files_that_wait_to_be_used_again_are_no_damage() {
    let home = tempfile::tempdir().expect("a directory");
    let here = text(home.path());
    let server = dse(home.path(), &[]);
    let mut connection = connect(&server);
    for n in 0..6 {
        for m in 0..30 {
            set(&mut connection, &format!("key:{n}:{m}"), &"v".repeat(60_000));
        }
        cmd("SAVE").exec(&mut connection).expect("saved");
    }
    drop(server);
    assert!(!home.path().join("log-0000000000000000-00000001.dse").exists(), "files are reused");
    // A hole as the reuse of a later file leaves it.
    let old = home.path().join("log-0000000000000000-00000001.dse");
    fs::write(old, vec![0; 1 << 20]).expect("written");
    let (code, said) = admin(&["check", here]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = admin(&["dump", here]);
    assert!(code == 0 && said.contains("key:5:29"), "{said}");
    let (code, said) = admin(&["repair", here]);
    assert!(code == 0 && said.contains("nothing to repair"), "{said}");
    let into = home.path().join("new");
    let (code, said) = admin(&["restore", here, "--to", "4160", "--into", text(&into)]);
    assert!(code == 1 && said.contains("does not reach back"), "{said}");
}

#[test]
fn a_dump_shows_each_request() {
    let home = tempfile::tempdir().expect("a directory");
    let server = dse(home.path(), &[]);
    let mut connection = connect(&server);
    set(&mut connection, "a key", "with \"quotes\"\r\n");
    redis::pipe()
        .atomic()
        .cmd("SELECT")
        .arg(3)
        .cmd("INCR")
        .arg("n")
        .cmd("RPUSH")
        .arg("l")
        .arg("x")
        .exec(&mut connection)
        .expect("executed");
    cmd("SELECT").arg(0).exec(&mut connection).expect("selected");
    set(&mut connection, "long", &"v".repeat(400_000));
    drop(server);
    let (code, said) = admin(&["dump", text(home.path())]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(r#" db 0 "SET" "a key" "with \"quotes\"\r\n""#), "{said}");
    assert!(said.contains(r#" db 3 "INCR" "n" db 3 "RPUSH" "l" "x""#), "{said}");
    assert!(said.contains("fragment of body"), "{said}");
    assert!(said.contains(r#""SET" "long" "vvv"#) && said.contains("(400000 bytes)"), "{said}");
    let at = position_of(&said, "\"INCR\"").to_string();
    let (_, one) = admin(&["dump", text(home.path()), "--from", &at, "--to", &at]);
    assert_eq!(one.lines().count(), 1, "{one}");
    assert!(said.contains(&one), "{one}");
}

#[test]
fn an_earlier_moment_is_restored_by_position_and_by_time() {
    let (home, new) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another"));
    let here = text(home.path());
    let server = dse(home.path(), &[]);
    let mut connection = connect(&server);
    set(&mut connection, "k", "before the snapshot");
    cmd("SAVE").exec(&mut connection).expect("saved");
    set(&mut connection, "k", "first");
    cmd("INCR").arg("n").exec(&mut connection).expect("counted");
    // Times of records are told apart by at least a millisecond.
    std::thread::sleep(Duration::from_millis(20));
    let between = humantime_of(SystemTime::now());
    std::thread::sleep(Duration::from_millis(20));
    cmd("FLUSHALL").exec(&mut connection).expect("everything is gone");
    set(&mut connection, "k", "second");
    drop(server);
    let (_, dump) = admin(&["dump", here]);
    let counted = position_of(&dump, "\"INCR\"").to_string();
    let first = position_of(&dump, "before the snapshot").to_string();
    for (to, k, n) in [
        (&*counted, Some("first"), Some("1")),
        (&*between, Some("first"), Some("1")),
        (&*first, Some("before the snapshot"), None),
        ("99999999", Some("second"), None),
    ] {
        let into = new.path().join(to);
        let (code, said) = admin(&["restore", here, "--to", to, "--into", text(&into)]);
        assert_eq!(code, 0, "{to}: {said}");
        assert_eq!(admin(&["check", text(&into)]).0, 0);
        for _ in 0..2 {
            let server = dse(&into, &[]);
            let mut connection = connect(&server);
            assert_eq!(get(&mut connection, "k").as_deref(), k, "{to}");
            assert_eq!(get(&mut connection, "n").as_deref(), n, "{to}");
            set(&mut connection, "later", "too");
        }
        let (code, said) = admin(&["restore", here, "--to", to, "--into", text(&into)]);
        assert!(code == 2 && said.contains("is not empty"), "{said}");
    }
    // Without its first part the log reaches back to the snapshot only.
    fs::remove_file(&files(home.path(), "log-", ".dse")[0]).expect("removed");
    let into = new.path().join("early");
    let (code, said) = admin(&["restore", here, "--to", &first, "--into", text(&into)]);
    assert!(code == 1 && said.contains("does not reach back"), "{said}");
}

fn humantime_of(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[test]
fn data_comes_from_redis_and_goes_back() {
    if !redis_is_there() {
        eprintln!("skipped: there is no redis-server 7.0");
        return;
    }
    let (home, back) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another"));
    let there = Server::redis(&redis_in(home.path())).expect("redis-server starts");
    let mut connection = connect(&there);
    for n in 0..500 {
        set(&mut connection, &format!("key:{n}"), &"v".repeat(n));
        cmd("RPUSH").arg("list").arg(n).exec(&mut connection).expect("pushed");
        cmd("ZADD").arg("zset").arg(n % 7).arg(n).exec(&mut connection).expect("added");
        cmd("HSET").arg("hash").arg(n).arg(n * n).exec(&mut connection).expect("set");
    }
    cmd("PEXPIREAT").arg("key:7").arg(4_000_000_000_000_u64).exec(&mut connection).expect("due");
    let expected = digest(&mut connection);
    cmd("SAVE").exec(&mut connection).expect("saved");
    drop(there);

    let data = home.path().join("data");
    let rdb = home.path().join("dump.rdb");
    let (code, said) = admin(&["import", text(&rdb), "--into", text(&data)]);
    assert!(code == 0 && said.contains("503 keys (1 with a deadline)"), "{said}");
    let here = dse(&data, &[]);
    let mut connection = connect(&here);
    assert_eq!(digest(&mut connection), expected);
    set(&mut connection, "only in the log", "yes");
    drop(here);

    let exported = back.path().join("dump.rdb");
    let (code, said) = admin(&["export", text(&data), text(&exported)]);
    assert!(code == 0 && said.contains("504 keys are in"), "{said}");
    assert_eq!(admin(&["export", text(&data), text(&exported)]).0, 2, "nothing is overwritten");
    let there = Server::redis(&redis_in(back.path())).expect("redis-server starts");
    let mut connection = connect(&there);
    assert_eq!(get(&mut connection, "only in the log").as_deref(), Some("yes"));
    cmd("DEL").arg("only in the log").exec(&mut connection).expect("removed");
    assert_eq!(digest(&mut connection), expected);
}

fn redis_in(directory: &Path) -> Vec<String> {
    vec!["--dir".to_owned(), directory.display().to_string()]
}

/// Everything in the first database, in an order of its own.
fn digest(connection: &mut Connection) -> Vec<String> {
    let mut keys: Vec<String> = cmd("KEYS").arg("*").query(connection).expect("keys");
    keys.sort();
    let tell = |key: &String| {
        let read: &[&str] = match key.as_str() {
            "list" => &["LRANGE", "0", "-1"],
            "zset" => &["ZRANGE", "0", "-1", "WITHSCORES"],
            "hash" => &["HGETALL"],
            _ => &["GET"],
        };
        let mut command = cmd(read[0]);
        read[1..].iter().fold(command.arg(key), |command, word| command.arg(*word));
        let value: redis::Value = command.query(connection).expect("a value");
        let mut words = format!("{value:?}");
        if key == "hash" {
            let mut fields: Vec<(String, String)> =
                cmd("HGETALL").arg(key).query(connection).expect("fields");
            fields.sort();
            words = format!("{fields:?}");
        }
        let deadline: i64 = cmd("PEXPIRETIME").arg(key).query(connection).expect("a deadline");
        format!("{key} {deadline} {words}")
    };
    keys.iter().map(tell).collect()
}
