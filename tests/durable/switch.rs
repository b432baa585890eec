//! `CONFIG SET appendonly` on a server that is killed at any moment around it.
//!
//! One connection writes numbers in order, so that what is found after a start is the state after
//! some number of them, and the least that number may be is known: all that was acknowledged while
//! the log was on, that is, from the answer to `CONFIG SET appendonly yes` until `no` is sent, and
//! what was acknowledged before that answer.

use super::program;
use super::rounds::{end, end_by};
use crate::common::random::Random;
use crate::common::server::Server;
use crate::common::value::Value;
use crate::common::wire::{Client, encode};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Rounds in the gate; `DSE_CRASH_ROUNDS` overrules it.
const ROUNDS: u64 = 10;
/// Keys that the numbers go to in turn.
const SLOTS: u64 = 16;
/// Bytes of a value that does not fit into a record.
const LONG: usize = 600_000;

fn start(home: &Path, appendonly: bool, more: &[&str]) -> Result<Server, String> {
    Server::dse_in(program(), home, &flags(appendonly, more))
}

fn flags(appendonly: bool, more: &[&str]) -> Vec<String> {
    let log = if appendonly { "yes" } else { "no" };
    let fixed = ["--appendonly", log, "--wal-segment-bytes", "1mb"];
    fixed.iter().chain(more).map(|flag| flag.to_string()).collect()
}

/// Rules by which no snapshot is ever taken, and yet the data is kept.
const QUIET: [&str; 2] = ["--save", "100000 100000000"];

fn call(client: &mut Client, command: &[&str]) -> Value {
    client.call(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn ok(client: &mut Client, command: &[&str]) {
    assert_eq!(call(client, command), Value::Simple(b"OK".into()), "{command:?}");
}

fn refused(client: &mut Client, command: &[&str]) -> String {
    match call(client, command) {
        Value::Error(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{command:?}: {}", other.pretty()),
    }
}

/// A line of INFO persistence.
fn info(client: &mut Client, field: &str) -> String {
    let text = call(client, &["INFO", "persistence"]);
    let text = String::from_utf8_lossy(text.text().unwrap_or_default()).into_owned();
    let prefix = format!("{field}:");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).to_string()
}

/// What operation `number` sends; some are transactions, some longer than a record.
fn commands(number: u64) -> Vec<Vec<Vec<u8>>> {
    let text = number.to_string().into_bytes();
    let set = |key: String| vec![b"SET".to_vec(), key.into_bytes(), text.clone()];
    let slot = set(format!("k{}", number % SLOTS));
    let count = vec![b"INCR".to_vec(), b"count".to_vec()];
    let words = |word: &str| vec![word.as_bytes().to_vec()];
    match number % 64 {
        13 => {
            let long = text.iter().copied().cycle().take(LONG).collect();
            let long = vec![b"SET".to_vec(), b"long".to_vec(), long];
            vec![words("MULTI"), slot, count, long, words("EXEC")]
        }
        _ => vec![words("MULTI"), slot, count, words("EXEC")],
    }
}

/// What writer and disturber know of each other.
#[derive(Default)]
struct Shared {
    /// Everything that is acknowledged is kept.
    is_on: AtomicBool,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    /// The least that must be there.
    floor: AtomicU64,
}

/// Writes from `first` on until the server is gone.
fn write(address: SocketAddr, first: u64, shared: &Shared) {
    let Ok(mut client) = Client::connect(address) else { return };
    for number in first.. {
        let commands = commands(number);
        let bytes: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
        let was_on = shared.is_on.load(SeqCst);
        shared.sent.store(number, SeqCst);
        if !client.send(&bytes) {
            return;
        }
        for _ in &commands {
            let Ok(reply) = client.read() else { return };
            assert!(!matches!(reply, Value::Error(_)), "{}", reply.pretty());
        }
        shared.acknowledged.store(number, SeqCst);
        if was_on && shared.is_on.load(SeqCst) {
            shared.floor.fetch_max(number, SeqCst);
        }
    }
}

/// Switches the log off and on, and returns while something is going on.
fn disturb(server: &Server, shared: &Shared, random: &mut Random) {
    let mut client = server.client();
    for _ in 0..random.below(5) {
        std::thread::sleep(Duration::from_millis(random.below(60) as u64));
        if shared.is_on.load(SeqCst) {
            shared.is_on.store(false, SeqCst);
            ok(&mut client, &["CONFIG", "SET", "appendonly", "no"]);
        } else {
            ok(&mut client, &["CONFIG", "SET", "appendonly", "yes"]);
            let acknowledged = shared.acknowledged.load(SeqCst);
            shared.floor.fetch_max(acknowledged, SeqCst);
            shared.is_on.store(true, SeqCst);
        }
        if random.chance(20) {
            // It may find the log on or off, and must not harm either.
            ok(&mut client, &["SAVE"]);
        }
    }
    std::thread::sleep(Duration::from_millis(random.below(40) as u64));
    if random.chance(60) {
        let wanted = if shared.is_on.swap(false, SeqCst) { "no" } else { "yes" };
        client.send(&encode(&["CONFIG", "SET", "appendonly", wanted]));
        std::thread::sleep(Duration::from_micros(random.below(30_000) as u64));
    }
}

/// The number of operations after which the data is as it is now.
fn found(server: &Server) -> u64 {
    let mut client = server.client();
    let count: u64 = match call(&mut client, &["GET", "count"]) {
        Value::Bulk(text) => String::from_utf8_lossy(&text).parse().expect("a number"),
        _ => 0,
    };
    for slot in 0..SLOTS {
        // Operations are numbered from 1.
        let last = (1..=count).rev().find(|number| number % SLOTS == slot);
        let want = last.map(|last| last.to_string().into_bytes());
        let have = call(&mut client, &["GET", &format!("k{slot}")]);
        assert_eq!(have.text().map(<[u8]>::to_vec), want, "k{slot} after {count} operations");
    }
    let long = (1..=count).rev().find(|number| number % 64 == 13);
    let have = call(&mut client, &["GET", "long"]);
    let want = long.map(|number| {
        let text = number.to_string().into_bytes();
        text.iter().copied().cycle().take(LONG).collect::<Vec<u8>>()
    });
    assert!(have.text().map(<[u8]>::to_vec) == want, "the long value is not that of {long:?}");
    count
}

#[test]
fn the_log_goes_off_and_on_and_a_kill_finds_all_that_was_acknowledged_while_it_was_on() {
    let seed = super::seed();
    let mut random = Random::new(seed);
    let home = tempfile::tempdir().expect("a directory");
    let given = std::env::var("DSE_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok());
    let (mut count, mut switched) = (0, 0);
    for round in 0..given.unwrap_or(ROUNDS) {
        let on = random.chance(70);
        let started = start(home.path(), on, &QUIET);
        let server = started.unwrap_or_else(|error| panic!("round {round}, seed {seed}: {error}"));
        if round == 0 {
            // Enough that a snapshot takes a moment.
            let mut client = server.client();
            let filler = "x".repeat(100);
            for chunk in 0..100 {
                let mut command = vec!["MSET".to_string()];
                for key in 0..200 {
                    command.extend([format!("f{chunk}:{key}"), format!("{filler}{key}")]);
                }
                call(&mut client, &command.iter().map(String::as_str).collect::<Vec<_>>());
            }
            if !on {
                ok(&mut client, &["SAVE"]);
            }
        }
        let shared = Shared::default();
        shared.is_on.store(on, SeqCst);
        shared.sent.store(count, SeqCst);
        shared.acknowledged.store(count, SeqCst);
        shared.floor.store(count, SeqCst);
        let address = server.address;
        std::thread::scope(|scope| {
            scope.spawn(|| write(address, count + 1, &shared));
            disturb(&server, &shared, &mut random);
            server.kill();
        });
        let floor = shared.floor.load(SeqCst);
        let sent = shared.sent.load(SeqCst);
        switched += u64::from(floor < shared.acknowledged.load(SeqCst));
        if random.chance(30) {
            // A start may be killed too, wherever it is.
            let flags = flags(random.chance(70), &QUIET);
            let starting = Server::spawn_in(program(), home.path(), &flags).expect("spawned");
            std::thread::sleep(Duration::from_micros(random.below(60_000) as u64));
            starting.kill();
        }
        // Whether a log is wanted or not, a start brings back what is on disk.
        let started = start(home.path(), random.chance(70), &QUIET);
        let server = started.unwrap_or_else(|error| panic!("round {round}, seed {seed}: {error}"));
        count = found(&server);
        assert!(
            (floor..=sent).contains(&count),
            "round {round}, seed {seed}: {count} operations are there, {floor} kept, {sent} sent"
        );
        if random.chance(50) { server.kill() } else { end(server) }
    }
    println!("{count} operations; in {switched} rounds some were made without a log");
}

#[test]
fn a_server_that_kept_nothing_begins_to_keep_all_when_it_is_told_to() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), false, &["--save", ""]).expect("started");
    let mut client = server.client();
    ok(&mut client, &["SET", "before", "1"]);
    assert_eq!(std::fs::read_dir(home.path().join("data")).expect("made").count(), 0);
    assert_eq!(
        (info(&mut client, "aof_enabled"), info(&mut client, "log_state")),
        ("0".into(), "off".into())
    );
    ok(&mut client, &["CONFIG", "SET", "appendonly", "yes"]);
    assert_eq!(
        (info(&mut client, "aof_enabled"), info(&mut client, "log_state")),
        ("1".into(), "on".into())
    );
    ok(&mut client, &["SET", "after", "2"]);
    server.kill();
    let server = start(home.path(), true, &["--save", ""]).expect("started");
    let mut client = server.client();
    assert_eq!(call(&mut client, &["MGET", "before", "after"]).pretty(), "[\"1\" \"2\"]");
    // Off again: what follows is not kept, and nothing of before is lost.
    ok(&mut client, &["CONFIG", "SET", "appendonly", "no"]);
    assert_eq!(info(&mut client, "log_state"), "off");
    ok(&mut client, &["SET", "after", "3"]);
    server.kill();
    let server = start(home.path(), true, &["--save", ""]).expect("started");
    assert_eq!(call(&mut server.client(), &["GET", "after"]), Value::bulk("2"));
}

#[test]
fn snapshots_alone_can_be_switched_on_too() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), false, &["--save", ""]).expect("started");
    let mut client = server.client();
    ok(&mut client, &["SET", "k", "v"]);
    ok(&mut client, &["CONFIG", "SET", "save", "3600 1"]);
    for round in 0..3 {
        ok(&mut client, &["SET", "k", &round.to_string()]);
        ok(&mut client, &["SAVE"]);
    }
    let kept = super::files::listed(home.path(), "snapshot-");
    assert_eq!(kept.len(), 2, "each has a name of its own: {kept:?}");
    server.kill();
    // The older one holds if the newer is damaged.
    let server = start(home.path(), false, &QUIET).expect("started");
    assert_eq!(call(&mut server.client(), &["GET", "k"]), Value::bulk("2"));
    server.kill();
    super::files::flip(&kept[1], 5000);
    let server = start(home.path(), false, &QUIET).expect("started");
    assert_eq!(call(&mut server.client(), &["GET", "k"]), Value::bulk("1"));
}

#[test]
fn save_keeps_what_a_server_without_rules_is_told_to_keep() {
    let home = tempfile::tempdir().expect("a directory");
    let cache = || start(home.path(), false, &["--save", ""]).expect("started");
    let server = cache();
    let mut client = server.client();
    ok(&mut client, &["SET", "saved", "1"]);
    ok(&mut client, &["SAVE"]);
    ok(&mut client, &["SET", "after", "1"]);
    server.kill();
    let server = cache();
    let mut client = server.client();
    assert_eq!(call(&mut client, &["MGET", "saved", "after"]).pretty(), "[\"1\" (nil)]");
    ok(&mut client, &["SET", "last", "1"]);
    end_by(server, &["SHUTDOWN", "SAVE"]);
    let server = cache();
    let mut client = server.client();
    assert_eq!(call(&mut client, &["MGET", "saved", "last"]).pretty(), "[\"1\" \"1\"]");
    // Without a word it keeps nothing more.
    ok(&mut client, &["SET", "gone", "1"]);
    end(server);
    assert_eq!(call(&mut cache().client(), &["MGET", "last", "gone"]).pretty(), "[\"1\" (nil)]");
}

#[test]
fn a_directory_with_data_that_was_not_loaded_is_not_taken() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), false, &["--save", ""]).expect("started");
    let other = start(home.path(), true, &[]).expect("nobody has the directory");
    ok(&mut other.client(), &["SET", "old", "1"]);
    let mut client = server.client();
    assert!(refused(&mut client, &["SAVE"]).contains("another server"), "it has the directory");
    let third = start(home.path(), false, &["--save", ""]).expect("it needs no directory");
    assert_eq!(call(&mut third.client(), &["DBSIZE"]), Value::Int(0));
    assert!(third.said().contains("is not loaded"), "{}", third.said());
    end(other);
    for command in [["appendonly", "yes"], ["save", "60 1"]].repeat(20) {
        let why = refused(&mut client, &["CONFIG", "SET", command[0], command[1]]);
        assert!(why.contains("not loaded") && why.contains(".dse"), "{why}");
        let have = call(&mut client, &["CONFIG", "GET", command[0]]);
        assert!(!have.pretty().contains(command[1]), "taken back: {}", have.pretty());
    }
    let why = refused(&mut client, &["SAVE"]);
    assert!(why.contains("not loaded") && why.contains(".dse"), "{why}");
    assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "err");
    ok(&mut client, &["SET", "new", "1"]);
    drop((server, third));
    let server = start(home.path(), true, &[]).expect("started");
    assert_eq!(call(&mut server.client(), &["MGET", "old", "new"]).pretty(), "[\"1\" (nil)]");
}

#[test]
fn a_log_that_was_switched_on_does_not_follow_upon_what_was_there_before() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), true, &QUIET).expect("started");
    let mut client = server.client();
    ok(&mut client, &["SET", "k", "1"]);
    ok(&mut client, &["SAVE"]);
    ok(&mut client, &["CONFIG", "SET", "appendonly", "no"]);
    ok(&mut client, &["SET", "gap", "1"]);
    ok(&mut client, &["CONFIG", "SET", "appendonly", "yes"]);
    ok(&mut client, &["SET", "k", "2"]);
    server.kill();
    // Without the snapshot that the new log stands on, what was acknowledged is not all there.
    let base = super::files::listed(home.path(), "snapshot-").pop().expect("a snapshot");
    super::files::flip(&base, 5000);
    let refusal = start(home.path(), true, &QUIET).err().expect("refused");
    let name = base.file_name().expect("a name").to_string_lossy().into_owned();
    let line = refusal.lines().last().unwrap_or_default().to_string();
    assert!(line.contains(&name) && line.contains("dse-admin repair"), "{line}");
    // Had it never been finished, the data would be that of before.
    std::fs::remove_file(&base).expect("removed");
    let server = start(home.path(), true, &QUIET).expect("started");
    let mut client = server.client();
    assert_eq!(call(&mut client, &["MGET", "k", "gap"]).pretty(), "[\"1\" (nil)]");
    ok(&mut client, &["SET", "k", "3"]);
    server.kill();
    let server = start(home.path(), true, &QUIET).expect("started");
    assert_eq!(call(&mut server.client(), &["MGET", "k", "gap"]).pretty(), "[\"3\" (nil)]");
}

/// Writes go on while the log comes and goes, and each is answered once.
#[test]
fn clients_notice_nothing_of_a_switch() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), true, &QUIET).expect("started");
    let until = Instant::now() + Duration::from_millis(800);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let mut client = server.client();
                scope.spawn(move || {
                    let (key, mut sent) = (format!("n{number}"), 0);
                    while Instant::now() < until {
                        let depth = 1 + number * 8;
                        let one = encode(&["INCR", &key]);
                        client.send(&one.repeat(depth));
                        for _ in 0..depth {
                            sent += 1;
                            assert_eq!(client.read().expect("a reply"), Value::Int(sent));
                        }
                    }
                    sent
                })
            })
            .collect();
        let mut client = server.client();
        let mut switches = 0;
        while Instant::now() < until {
            for wanted in ["no", "yes"] {
                ok(&mut client, &["CONFIG", "SET", "appendonly", wanted]);
                switches += 1;
            }
        }
        let sent: i64 = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert!(sent > 100 && switches >= 2, "{sent} writes, {switches} switches");
    });
}

/// What `dse-admin check` says of a directory in which all is well.
fn check(home: &Path) -> String {
    let data = home.join("data");
    let (code, told) = super::planted::admin(&["check", data.to_str().expect("in UTF-8")]);
    assert_eq!(code, Some(0), "{told}");
    told
}

/// A transaction that was on its way into the log when that was switched off is executed without
/// one: no snapshot needs what of it is in there.
#[test]
fn a_snapshot_without_a_log_needs_nothing_of_the_one_before() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), true, &QUIET).expect("started");
    let (mut client, mut writer) = (server.client(), server.client());
    ok(&mut client, &["SET", "k", "1"]);
    ok(&mut client, &["SAVE"]);
    let position = |client: &mut Client| info(client, "log_position").parse::<u64>();
    let before = position(&mut client).expect("a number");
    let long = "x".repeat(64 << 20);
    let transaction = [&["MULTI"][..], &["SET", "long", &long], &["EXEC"]];
    writer.send(&transaction.iter().flat_map(|command| encode(command)).collect::<Vec<_>>());
    while position(&mut client).expect("a number") < before + (1 << 20) {
        std::thread::yield_now();
    }
    ok(&mut client, &["CONFIG", "SET", "appendonly", "no"]);
    (0..3).for_each(|_| _ = writer.read().expect("a reply"));
    let files = super::files::listed(home.path(), "log-").len();
    assert!(files < 64, "all of it was in the log before that was switched off: {files} MiB");
    ok(&mut client, &["SAVE"]);
    ok(&mut client, &["SAVE"]);
    server.kill();
    let told = check(home.path());
    let read = told.split_once("read from position ").expect(&told).1;
    let numbers: Vec<u64> = read.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] < numbers[1], "from behind the end: {told}");
    let server = start(home.path(), true, &QUIET).expect("started");
    for value in ["2", "3", "4"] {
        ok(&mut server.client(), &["SET", "k", value]);
    }
    server.kill();
    let server = start(home.path(), true, &QUIET).unwrap_or_else(|error| panic!("{error}"));
    let mut client = server.client();
    assert_eq!(call(&mut client, &["GET", "k"]), Value::bulk("4"));
    assert_eq!(call(&mut client, &["STRLEN", "long"]), Value::Int(long.len() as i64));
    server.kill();
    // Nor is it damage that the log of before ends in front of that snapshot.
    check(home.path());
    // It cannot be done without: what was changed before it is in no log.
    let base = super::files::listed(home.path(), "snapshot-").pop().expect("a snapshot");
    super::files::flip(&base, 5000);
    let refusal = start(home.path(), true, &QUIET).err().expect("refused");
    let name = base.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(refusal.contains(&name) && refusal.contains("dse-admin repair"), "{refusal}");
}
