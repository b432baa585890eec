//! Snapshots of large values while they change: what a server comes back with is what its log
//! alone makes of its history.
//!
//! A slow snapshot is taken while connections change, remove, rename, copy and replace large
//! collections and strings. Then the server is killed. One copy of its files starts from snapshot
//! and log, another from the log alone; they must agree entry by entry, in the order that
//! collections keep too. Most of the commands do something else the second time, so a value that
//! is not as old as the cut of its shard shows.

mod common;

use common::contents::{assert_same, copy, entries};
use common::random::Random;
use common::server::Server;
use common::value::Value;
use common::wire::{Client, encode};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Connections that write while the snapshot is taken.
const CONNECTIONS: u64 = 3;
/// Large values of each kind.
const KEYS: usize = 6;
/// Elements of each at the beginning.
const ELEMENTS: usize = 12_000;
/// How many keys a command touches at most. Those of several have shards cut by writers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touched {
    One,
    Several,
}

/// No snapshot takes longer.
const SNAPSHOT_WAIT_MAX: Duration = Duration::from_secs(60);

fn start(home: &Path, more: &[&str]) -> Server {
    let fixed = ["--appendonly", "yes", "--save", "", "--wal-segment-bytes", "4mb"];
    let flags: Vec<String> = fixed.iter().chain(more).map(|flag| flag.to_string()).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_dse-server"));
    Server::dse_in(program, home, &flags).unwrap_or_else(|error| panic!("{error}"))
}

fn call(client: &mut Client, line: &str) -> Value {
    let words: Vec<&str> = line.split(' ').collect();
    client.call(&words).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn seed() -> u64 {
    let given = std::env::var("DSE_SNAPSHOT_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| std::process::id().into());
    println!("DSE_SNAPSHOT_SEED={seed}");
    seed
}

/// Makes the collection `key` anew, in one command.
fn fill(client: &mut Client, random: &mut Random, kind: &str, key: &str) {
    let mut words: Vec<String> = vec![kind.into(), key.into()];
    for number in 0..ELEMENTS {
        let long = if random.below(2000) == 0 { 5000 } else { random.below(20) };
        let element = format!("{number}-{}", "x".repeat(long));
        match kind {
            "HSET" => words.extend([element, number.to_string()]),
            "ZADD" => words.extend([(number % 97).to_string(), element]),
            _ => words.push(element),
        }
    }
    client.call(&words).expect("a reply");
}

fn fill_all(client: &mut Client, random: &mut Random) {
    for number in 0..KEYS {
        for (kind, letter) in [("RPUSH", 'l'), ("SADD", 's'), ("HSET", 'h'), ("ZADD", 'z')] {
            fill(client, random, kind, &format!("{letter}{number}"));
        }
        call(client, &format!("SETRANGE t{number} 100000 end"));
    }
}

/// A command that changes a large value, most of them otherwise when executed twice.
fn command(random: &mut Random, keys: Touched) -> String {
    if keys == Touched::Several && random.chance(15) {
        return command_of_several(random);
    }
    let (key, place) = (random.below(KEYS), random.below(ELEMENTS));
    let member = random.below(1 << 20);
    match random.below(24) {
        0 => format!("RPUSH l{key} a{member} b c"),
        1 => format!("LPUSH l{key} d{member}"),
        2 => format!("LPOP l{key} 3"),
        3 => format!("RPOP l{key}"),
        4 => format!("LSET l{key} {place} set{member}"),
        5 if random.chance(20) => format!("LINSERT l{key} AFTER c e{member}"),
        6 if random.chance(20) => format!("LREM l{key} 1 c"),
        7 if random.chance(10) => format!("LTRIM l{key} 2 -2"),
        8 => format!("SADD s{key} f{member}"),
        9 => format!("SPOP s{key} 4"),
        10 => format!("SPOP s{key}"),
        11 => format!("PERSIST s{key}"),
        12 => format!("HINCRBY h{key} g{} 1", member % 5000),
        13 => format!("HINCRBYFLOAT h{key} g{} 0.5", member % 5000),
        14 => format!("HDEL h{key} g{}", member % 5000),
        15 => format!("HSET h{key} g{} {}", member % 5000, "v".repeat(member % 3000)),
        16 => format!("ZINCRBY z{key} 1.5 m{}", member % 5000),
        17 => format!("ZPOPMIN z{key} 3"),
        18 => format!("ZADD z{key} {place} m{}", member % 5000),
        19 => format!("ZREMRANGEBYRANK z{key} {place} {}", place + 3),
        20 => format!("APPEND t{key} more{member}"),
        21 => format!("SETRANGE t{key} {place} here{member}"),
        22 if random.chance(3) => format!("DEL h{key}"),
        23 if random.chance(3) => format!("PEXPIRE s{key} {}", 1 + random.below(30)),
        _ => format!("INCR n{}", member % 1000),
    }
}

fn command_of_several(random: &mut Random) -> String {
    let (key, other) = (random.below(KEYS), random.below(KEYS));
    match random.below(30) {
        0 => format!("RENAME l{key} l{other}"),
        1 => format!("RENAME h{key} h{other}"),
        2 => format!("COPY z{key} z{other} REPLACE"),
        3 => format!("COPY t{key} t{other} REPLACE"),
        4 => format!("SUNIONSTORE s{key} s{key} s{other}"),
        5 => format!("UNLINK z{key} l{other}"),
        6 => format!("MOVE t{key} 1"),
        7..18 => format!("SMOVE s{key} s{other} f{}", random.below(1 << 20)),
        _ => format!("LMOVE l{key} l{other} LEFT RIGHT"),
    }
}

/// Changes large values until it is told to stop; some of them in transactions.
fn work(address: SocketAddr, seed: u64, keys: Touched, stop: &AtomicBool) {
    let mut client = Client::connect(address).expect("connected");
    let mut random = Random::new(seed);
    while !stop.load(Ordering::Relaxed) {
        let count = 1 + random.below(16);
        let in_multi = keys == Touched::Several && random.chance(10);
        let mut lines: Vec<String> = (0..count).map(|_| command(&mut random, keys)).collect();
        if in_multi {
            lines.truncate(3);
            lines.insert(0, "MULTI".into());
            lines.push("EXEC".into());
        }
        let bytes: Vec<u8> =
            lines.iter().flat_map(|line| encode(&line.split(' ').collect::<Vec<_>>())).collect();
        assert!(client.send(&bytes), "sent");
        lines.iter().for_each(|line| drop(client.read().unwrap_or_else(|e| panic!("{line}: {e}"))));
        if random.chance(1) {
            let (kind, letter) =
                *random.pick(&[("RPUSH", 'l'), ("SADD", 's'), ("HSET", 'h'), ("ZADD", 'z')]);
            let key = format!("{letter}{}", random.below(KEYS));
            fill(&mut client, &mut random, kind, &key);
        }
    }
}

/// The number that a line of INFO persistence tells.
fn info(client: &mut Client, name: &str) -> Option<f64> {
    let reply = call(client, "INFO persistence");
    let text = String::from_utf8_lossy(reply.text().expect("text")).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}

/// Asks for a snapshot and waits until it has begun: two that are asked for before are one.
fn begin_snapshot(client: &mut Client) {
    call(client, "BGSAVE");
    let began = Instant::now();
    while info(client, "rdb_bgsave_in_progress") != Some(1.0) {
        assert!(began.elapsed() < SNAPSHOT_WAIT_MAX, "the snapshot does not begin");
    }
}

/// Takes a snapshot and waits until it is written; what INFO said meanwhile is looked at.
fn take_snapshot(client: &mut Client) {
    let began = Instant::now();
    let saves = info(client, "rdb_saves");
    let reply = call(client, "BGSAVE");
    assert_eq!(reply, Value::Simple(b"Background saving started".into()));
    let (mut seen, mut last) = (0, 0.0);
    while info(client, "rdb_saves") == saves {
        assert!(began.elapsed() < SNAPSHOT_WAIT_MAX, "the snapshot does not end");
        if let (Some(percent), Some(rate)) =
            (info(client, "current_fork_perc"), info(client, "snapshot_bytes_per_sec"))
        {
            seen += 1;
            assert!((0.0..100.0).contains(&percent) && rate >= 0.0, "{percent} % {rate}");
            last = percent;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(seen > 10 && last > 20.0, "{seen} looks, {last} %: was there no rate limit?");
    assert_eq!(info(client, "current_fork_perc"), Some(0.0));
}

#[test]
fn large_values_that_change_during_a_snapshot_come_back_as_they_were() {
    come_back(Touched::One);
}

#[test]
fn large_values_that_move_during_a_snapshot_come_back_as_they_were() {
    come_back(Touched::Several);
}

fn come_back(keys: Touched) {
    let seed = seed();
    let home = tempfile::tempdir().expect("a directory");
    let [live, logged, loaded] = ["live", "logged", "loaded"].map(|name| home.path().join(name));
    let server = start(&live, &["--rdbcompression", "no"]);
    let (mut client, mut random) = (server.client(), Random::new(seed));
    fill_all(&mut client, &mut random);
    call(&mut client, "CONFIG SET snapshot-rate-bytes 4mb");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 1..=CONNECTIONS {
            let (address, stop) = (server.address, &stop);
            scope.spawn(move || work(address, seed.wrapping_mul(1000) + number, keys, stop));
        }
        take_snapshot(&mut client);
        // What comes after it is in the log only.
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
    });
    server.kill();
    copy(&live, &logged, false);
    copy(&live, &loaded, true);
    let server = start(&logged, &[]);
    let want = entries(&server, &logged);
    drop(server);
    assert!(want.values().any(|(_, value)| value.len() > 1 << 16), "nothing large is left");
    let server = start(&loaded, &["--threads", "3"]);
    assert_same(&want, &entries(&server, &loaded), "from snapshot and log");
}

#[test]
fn save_does_not_wait_for_the_rate() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &["--snapshot-rate-bytes", "1000", "--rdbcompression", "no"]);
    let mut client = server.client();
    fill_all(&mut client, &mut Random::new(1));
    // At this rate it would take hours; the one that is under way is hurried too.
    begin_snapshot(&mut client);
    assert_eq!(call(&mut client, "SAVE"), Value::Simple(b"OK".into()));
    assert_eq!(info(&mut client, "rdb_saves"), Some(2.0));
    call(&mut client, "CONFIG SET snapshot-rate-bytes 1000");
    begin_snapshot(&mut client);
    // One that is under way ends when the limit is lifted.
    call(&mut client, "CONFIG SET snapshot-rate-bytes 0");
    let began = Instant::now();
    while info(&mut client, "rdb_saves") != Some(3.0) {
        assert!(began.elapsed() < SNAPSHOT_WAIT_MAX, "the snapshot does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_start_tells_how_far_it_is() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &[]);
    let mut client = server.client();
    fill_all(&mut client, &mut Random::new(1));
    assert_eq!(call(&mut client, "SAVE"), Value::Simple(b"OK".into()));
    for batch in 0..150 {
        let one = |number: usize| encode(&["SET".to_string(), format!("k{number}"), "v".into()]);
        let bytes: Vec<u8> = (0..1000).flat_map(|number| one(batch * 1000 + number)).collect();
        assert!(client.send(&bytes), "sent");
        (0..1000).for_each(|_| drop(client.read().expect("a reply")));
    }
    server.kill();
    let flags = ["--appendonly", "yes", "--save", "", "--wal-segment-bytes", "4mb"];
    let flags = flags.map(str::to_string);
    let program = Path::new(env!("CARGO_BIN_EXE_dse-server"));
    let server = Server::spawn_in(program, home.path(), &flags).expect("started");
    let began = Instant::now();
    let mut client = loop {
        if let Ok(client) = Client::connect(server.address) {
            break client;
        }
        assert!(began.elapsed() < SNAPSHOT_WAIT_MAX, "the server does not listen");
    };
    let (mut refused, mut looks) = (0, 0);
    loop {
        match call(&mut client, "GET k1") {
            Value::Error(text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                assert!(text.starts_with("LOADING ") && text.ends_with("% done)"), "{text}");
                refused += 1;
            }
            found => break assert_eq!(found, Value::bulk("v")),
        }
        let wanted = ["start_time", "total_bytes", "loaded_bytes", "loaded_perc", "eta_seconds"];
        let [began, total, loaded, percent, _] =
            wanted.map(|name| info(&mut client, &format!("loading_{name}")).unwrap_or(-1.0));
        // It may have ended between two of these looks.
        if total > 0.0 && loaded > 0.0 && percent > 0.0 {
            looks += 1;
            assert!(began > 1.6e9 && loaded <= total, "{began} {loaded} {total}");
            assert!(percent < 100.0, "{percent}");
        }
    }
    assert!(refused > 0 && looks > 0, "{refused} times refused, {looks} looks");
    assert_eq!(info(&mut client, "loading"), Some(0.0));
    assert_eq!(info(&mut client, "loading_total_bytes"), None);
}
