//! Replay makes the same state: every write command, by several connections at once, on one
//! server; then its log on a second one, and a snapshot from the middle with the rest of the log
//! on a third. They run at other times, with other hash seeds, other numbers of threads and other
//! limits. Compared is the snapshot that each of them writes, entry by entry: kinds, deadlines,
//! forms, and the order that collections keep.

mod common;

use common::contents::{assert_same, copy, entries};
use common::generate::Generator;
use common::random::Random;
use common::server::Server;
use common::value::Value;
use common::wire::Client;
use dse::commands::table::{TABLE, flags};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

/// Connections at work at once; the log decides whose command came first.
const CONNECTIONS: u64 = 3;
/// Commands of each connection in each half.
const COMMANDS: usize = 2500;

/// What the generator leaves out: the clock, chance, and what only a replay could refuse.
const FURTHER: &[&str] = &[
    "PEXPIRE k0 7",
    "PEXPIRE k5 3",
    "SET k1 v PX 2",
    "GETEX k2 PX 5",
    "PEXPIRE k7 4",
    "SUNIONSTORE k8 k7 k8",
    "SPOP k7",
    "SPOP k8 2",
    "SADD big 1 2 3 4 5 6 7 8 9 a b c d e f",
    "SPOP big 3",
    "SDIFFSTORE k7 big k8",
    "SINTERSTORE k8 big k7",
    "SORT big ALPHA STORE k6",
    "SORT k5 BY nosort STORE k6",
    "SMOVE big k7 a",
    "RENAME k0 k3",
    "RENAMENX k3 k0",
    "COPY k5 k6 REPLACE",
    "MOVE k1 1",
    "PERSIST k0",
    "ZADD k11 1 a 2 b 3 c 4 d",
    "ZRANGESTORE k12 k11 0 2",
    "ZUNIONSTORE k12 2 k11 k12",
    "ZINTERSTORE k12 2 k11 k12",
    "ZDIFFSTORE k12 2 k11 k9",
    "ZREMRANGEBYRANK k12 0 0",
    "ZREMRANGEBYSCORE k11 3 3",
    "ZREMRANGEBYLEX k12 [a [b",
    "ZMPOP 2 k11 k12 MIN COUNT 1",
    "RPUSH k5 a b c d",
    "LMPOP 2 k5 k6 LEFT COUNT 2",
    "LMOVE k5 k6 LEFT RIGHT",
    "RPOPLPUSH k6 k5",
    "LINSERT k5 BEFORE b x",
    "LSET k5 0 y",
    "LTRIM k6 0 20",
    "LPUSHX k5 p",
    "RPUSHX k6 q",
    "LREM k5 0 b",
    "BLPOP k5 0.01",
    "BRPOP k6 0.01",
    "BLMOVE k5 k6 LEFT LEFT 0.01",
    "BRPOPLPUSH k5 k6 0.01",
    "BLMPOP 0.01 2 k5 k6 LEFT",
    "BZPOPMIN k11 0.01",
    "BZPOPMAX k11 0.01",
    "BZMPOP 0.01 1 k11 MAX",
    "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "GEOSEARCHSTORE k12 geo FROMLONLAT 15 37 BYRADIUS 200 km ASC",
    "GEORADIUS geo 15 37 200 km STORE k12",
    "GEORADIUSBYMEMBER geo Palermo 200 km STORE k12",
    "PFADD hll a b c",
    "PFMERGE hll2 hll",
    "PFCOUNT hll",
    "UNLINK k9",
    "DEL k10",
    "HINCRBYFLOAT k9 f 0.1",
    "INCRBYFLOAT k4 0.1",
    "CONFIG SET proto-max-bulk-len 1mb",
    "CONFIG SET maxmemory 0",
];

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_dse-server"))
}

fn start(home: &Path, more: &[&str]) -> Server {
    let fixed = ["--appendonly", "yes", "--wal-segment-bytes", "1mb"];
    let flags: Vec<String> = fixed.iter().chain(more).map(|flag| flag.to_string()).collect();
    Server::dse_in(program(), home, &flags).unwrap_or_else(|error| panic!("{error}"))
}

fn call(client: &mut Client, line: &str) -> Value {
    let words: Vec<&str> = line.split(' ').collect();
    client.call(&words).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Commands of a connection; it returns when all are answered.
fn work(address: SocketAddr, seed: u64) {
    let mut client = Client::connect(address).expect("connected");
    let (mut generator, mut random) = (Generator::new(seed), Random::new(seed));
    for _ in 0..COMMANDS {
        let command = generator.command();
        client.call(&command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
        if random.chance(30) {
            call(&mut client, FURTHER[random.below(FURTHER.len())]);
        }
        if random.chance(1) {
            restore_something_long(&mut client, random.below(13));
        }
    }
}

/// A value beyond what `proto-max-bulk-len` may say at the moment of the replay.
fn restore_something_long(client: &mut Client, key: usize) {
    call(client, "CONFIG SET proto-max-bulk-len 512mb");
    call(client, &format!("SETRANGE long {} x", 1_200_000 + key));
    if let Value::Bulk(payload) = client.call(&["DUMP", "long"]).expect("a reply") {
        let name = format!("restored{key}");
        let words = [b"RESTORE", name.as_bytes(), b"0", &payload, b"REPLACE"];
        client.call(&words).expect("a reply");
    }
    call(client, "DEL long");
}

fn all_work(address: SocketAddr, seed: u64) {
    let spawn = |n| std::thread::spawn(move || work(address, seed.wrapping_add(n)));
    let threads: Vec<_> = (0..CONNECTIONS).map(spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("all was answered"));
}

/// Names of the commands that write, of which none has succeeded yet.
fn untried(server: &Server) -> BTreeSet<&'static str> {
    let mut client = server.client();
    let info = call(&mut client, "INFO commandstats");
    let text = String::from_utf8_lossy(info.text().expect("text")).into_owned();
    let number = |line: &str, name: &str| -> u64 {
        let rest = line.split(&format!("{name}=")).nth(1).unwrap_or("0");
        rest.split(',').next().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    let succeeded = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")));
        line.is_some_and(|line| number(line, "calls") > number(line, "failed_calls"))
    };
    let writes = TABLE.iter().filter(|row| row.is(flags::WRITE)).map(|row| row.name);
    writes.filter(|name| !succeeded(name)).collect()
}

#[test]
fn log_and_snapshot_make_the_state_that_was() {
    let given = std::env::var("DSE_REPLAY_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| std::process::id().into());
    println!("DSE_REPLAY_SEED={seed}");
    let home = tempfile::tempdir().expect("a directory");
    let (live, logged, loaded) =
        (home.path().join("live"), home.path().join("logged"), home.path().join("loaded"));
    let server = start(&live, &[]);
    all_work(server.address, seed);
    assert_eq!(call(&mut server.client(), "SAVE"), Value::Simple(b"OK".into()));
    all_work(server.address, seed.wrapping_add(1 << 32));
    // Types meet at random; these meet the right one.
    for line in ["RPUSH k5 b", "RPUSH k6 b"].iter().chain(FURTHER) {
        call(&mut server.client(), line);
    }
    assert_eq!(untried(&server), BTreeSet::new(), "never succeeded");
    copy(&live, &logged, false);
    copy(&live, &loaded, true);
    let want = entries(&server, &live);
    assert!(want.len() > 5, "nothing to compare");
    drop(server);
    let strict = ["--proto-max-bulk-len", "1mb", "--maxmemory", "1mb", "--threads", "3"];
    let server = start(&logged, &strict);
    assert_same(&want, &entries(&server, &logged), "from the log");
    drop(server);
    let server = start(&loaded, &["--set-max-intset-entries", "2"]);
    assert_same(&want, &entries(&server, &loaded), "from snapshot and log");
    drop(server);
    let server = start(&live, &[]);
    assert_same(&want, &entries(&server, &live), "from the last snapshot");
}
