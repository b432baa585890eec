//! What snapshots, records and clocks owe one another, each on a case made for it.

use super::rounds::end;
use super::{flags, program, start};
use crate::common::server::Server;
use crate::common::value::Value;
use crate::common::wire::{Client, encode};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Requests that a connection sends at once.
const DEPTH: usize = 16;

fn call(client: &mut Client, line: &str) -> Value {
    let words: Vec<&str> = line.split(' ').collect();
    client.call(&words).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn ok(client: &mut Client, line: &str) {
    assert_eq!(call(client, line), Value::Simple(b"OK".into()), "{line}");
}

fn number(client: &mut Client, key: &str) -> u64 {
    let value = call(client, &format!("GET {key}"));
    let text = value.text().map(|text| String::from_utf8_lossy(text).into_owned());
    text.map_or(0, |text| text.parse().expect("a number"))
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}

/// Lets `work` run until `count` snapshots were taken beside it.
fn beside_snapshots(server: &Server, count: usize, work: impl Fn(&AtomicBool) + Sync) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| work(&ended));
        let mut client = server.client();
        for _ in 0..count {
            // What changes all shards is not among the work: none is given up.
            ok(&mut client, "SAVE");
        }
        ended.store(true, SeqCst);
    });
}

/// Increments `keys` as fast as replies come.
fn increment(address: SocketAddr, keys: &[&str], ended: &AtomicBool) {
    let mut client = Client::connect(address).expect("connected");
    let turn: Vec<u8> = keys.iter().flat_map(|key| encode(&["INCR", key])).collect();
    let bytes = turn.repeat(DEPTH / keys.len());
    while !ended.load(SeqCst) {
        client.send(&bytes);
        for _ in 0..DEPTH {
            let reply = client.read();
            assert!(matches!(reply, Ok(Value::Int(_))), "INCR is answered by a number: {reply:?}");
        }
    }
}

/// Shards that change all the time are cut between two of their records: none is lost, none is
/// applied twice.
#[test]
fn counters_under_snapshots_are_exact_after_a_kill() {
    const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let home = tempfile::tempdir().expect("a directory");
    let mode = ["--appendfsync", "no"];
    let mut server = start(home.path(), &mode);
    for round in 0..25 {
        let address = server.address;
        beside_snapshots(&server, 2, |ended| {
            std::thread::scope(|scope| {
                KEYS.chunks(4).for_each(|keys| {
                    scope.spawn(|| increment(address, keys, ended));
                });
            });
        });
        let count = |server: &Server| KEYS.map(|key| number(&mut server.client(), key));
        let before = count(&server);
        server.kill();
        server = start(home.path(), &mode);
        assert_eq!(count(&server), before, "round {round}");
    }
}

/// A key that RENAME carries from shard to shard is in none or in both of two copies that were
/// made at different times.
#[test]
fn keys_that_change_shards_under_snapshots_are_there_once() {
    const TOKENS: usize = 40;
    let home = tempfile::tempdir().expect("a directory");
    let mode = ["--appendfsync", "no"];
    let mut server = start(home.path(), &mode);
    let name = |side: u8, token: usize| format!("{}:{token}", side as char);
    for token in 0..TOKENS {
        ok(&mut server.client(), &format!("SET {} {token}", name(b'a', token)));
    }
    for round in 0..12 {
        let address = server.address;
        beside_snapshots(&server, 2, |ended| {
            let mut client = Client::connect(address).expect("connected");
            while !ended.load(SeqCst) {
                for (from, to) in [(b'a', b'b'), (b'b', b'a')] {
                    let rename = |token| encode(&["RENAME", &name(from, token), &name(to, token)]);
                    client.send(&(0..TOKENS).flat_map(rename).collect::<Vec<u8>>());
                    for _ in 0..TOKENS {
                        assert_eq!(client.read(), Ok(Value::Simple(b"OK".into())));
                    }
                }
            }
        });
        server.kill();
        server = start(home.path(), &mode);
        let mut client = server.client();
        for token in 0..TOKENS {
            let key = name(b'a', token);
            assert_eq!(call(&mut client, &format!("GET {key}")), Value::bulk(token.to_string()));
        }
        assert_eq!(call(&mut client, "DBSIZE"), Value::Int(TOKENS as i64), "round {round}");
    }
}

/// Two snapshots are kept, and the log from where the older one needs it, although the newer
/// needs much less.
#[test]
fn the_older_snapshot_leads_to_the_same_data_however_long_the_log_was() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &[]);
    let mut client = server.client();
    for round in 0..4 {
        for item in 0..40 {
            let value = format!("{round}.{item}.").repeat(20_000);
            ok(&mut client, &format!("SET k{} {value}", item * (round + 1)));
            call(&mut client, "INCR count");
        }
        if round < 3 {
            ok(&mut client, "SAVE");
        }
    }
    let keys = call(&mut client, "DBSIZE");
    server.kill();
    let newest = files(home.path(), "snapshot-").pop().expect("a snapshot");
    let file = std::fs::File::options().write(true).open(&newest).expect("opened");
    file.write_all_at(b"damaged", 9000).expect("written");
    let server = start(home.path(), &[]);
    assert!(server.said().contains("the one before it"), "{}", server.said());
    let mut client = server.client();
    assert_eq!(call(&mut client, "DBSIZE"), keys);
    assert_eq!(number(&mut client, "count"), 160);
}

/// A batch that began before a key's deadline goes on after somebody has seen the key expire: its
/// write finds no key, and so must a replay.
#[test]
fn a_key_that_was_seen_to_expire_is_gone_after_a_start_too() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &["--enable-debug-command", "yes"]);
    let (mut slow, mut other) = (server.client(), server.client());
    assert_eq!(call(&mut other, "PING"), Value::Simple(b"PONG".into()));
    ok(&mut slow, "SET k 41 PX 150");
    slow.send(&[encode(&["DEBUG", "SLEEP", "1.5"]), encode(&["INCR", "k"])].concat());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(call(&mut other, "PERSIST k"), Value::Int(0), "it has expired");
    assert_eq!(slow.read(), Ok(Value::Simple(b"OK".into())));
    assert_eq!(slow.read(), Ok(Value::Int(1)), "nobody sees it again");
    server.kill();
    let server = start(home.path(), &[]);
    assert_eq!(number(&mut server.client(), "k"), 1);
}

#[test]
fn deadlines_are_judged_by_the_time_of_the_record() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &[]);
    let mut client = server.client();
    let deadline = now_ms() + 1500;
    ok(&mut client, &format!("SET k 41 PXAT {deadline}"));
    assert_eq!(call(&mut client, "INCR k"), Value::Int(42));
    assert_eq!(call(&mut client, "PERSIST k"), Value::Int(1));
    server.kill();
    while now_ms() <= deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let server = start(home.path(), &[]);
    assert_eq!(number(&mut server.client(), "k"), 42);
}

/// A replay refuses nothing: limits are checked when a request comes.
#[test]
fn what_was_accepted_is_there_whatever_the_limits_are_now() {
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &[]);
    let mut client = server.client();
    assert_eq!(call(&mut client, "SETRANGE long 1200000 x"), Value::Int(1_200_001));
    assert_eq!(call(&mut client, "APPEND long y"), Value::Int(1_200_002));
    assert_eq!(call(&mut client, "SETBIT bits 9000000 1"), Value::Int(0));
    server.kill();
    let strict = ["--proto-max-bulk-len", "1mb", "--maxmemory", "1mb"];
    let server = start(home.path(), &strict);
    let mut client = server.client();
    assert_eq!(call(&mut client, "STRLEN long"), Value::Int(1_200_002));
    assert_eq!(call(&mut client, "STRLEN bits"), Value::Int(1_125_001));
    assert!(call(&mut client, "SETRANGE long 1200003 x").is_error(), "the limits are in force");
}

/// A collection that is written part by part, while it changes: what a start finds is what the
/// clients left, whichever of its parts the snapshot had written by then.
#[test]
fn a_large_collection_is_written_as_it_was_at_its_cut() {
    const MEMBERS: usize = 60_000;
    let home = tempfile::tempdir().expect("a directory");
    let mode = ["--appendfsync", "no"];
    let mut server = start(home.path(), &mode);
    let mut client = server.client();
    for first in (0..MEMBERS).step_by(1000) {
        let pairs: String = (first..first + 1000).map(|n| format!(" f{n} 0")).collect();
        call(&mut client, &format!("HSET hash{pairs}"));
        let items: String = (first..first + 1000).map(|n| format!(" {n}.")).collect();
        call(&mut client, &format!("RPUSH list{items}"));
    }
    for round in 0..4 {
        let address = server.address;
        beside_snapshots(&server, 2, |ended| {
            let mut client = Client::connect(address).expect("connected");
            let mut field = 0;
            while !ended.load(SeqCst) {
                for _ in 0..DEPTH {
                    field = (field + 7919) % MEMBERS;
                    client.send(&encode(&["HINCRBY", "hash", &format!("f{field}"), "1"]));
                    client.send(&encode(&["LSET", "list", &field.to_string(), &field.to_string()]));
                }
                for _ in 0..2 * DEPTH {
                    let reply = client.read().expect("a reply");
                    assert!(!reply.is_error(), "{}", reply.pretty());
                }
            }
        });
        let contents = |server: &Server| {
            let mut client = server.client();
            let hash = call(&mut client, "HGETALL hash").elements().map(<[Value]>::to_vec);
            (hash, call(&mut client, "LRANGE list 0 -1"))
        };
        let before = contents(&server);
        server.kill();
        server = start(home.path(), &mode);
        let after = contents(&server);
        assert!(after == before, "round {round}");
    }
}

/// Cuts the log at every commit, as a crash may, and looks at what transactions left that fill a
/// quarter of a commit each.
#[test]
fn a_transaction_is_there_as_a_whole_wherever_the_log_is_cut() {
    const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
    let home = tempfile::tempdir().expect("a directory");
    let server = start(home.path(), &[]);
    let mut client = server.client();
    for number in 0..10 {
        ok(&mut client, "MULTI");
        for key in KEYS {
            call(&mut client, &format!("SET {key} {}", format!("{number}.").repeat(22_000)));
        }
        let replies = call(&mut client, "EXEC");
        assert_eq!(replies.elements().map(<[Value]>::len), Some(KEYS.len()));
    }
    server.kill();
    let mut found = BTreeMap::new();
    for (file, at) in commits(home.path()) {
        let cut = tempfile::tempdir().expect("a directory");
        copy_until(home.path(), cut.path(), &file, at);
        let server = start(cut.path(), &[]);
        let mut client = server.client();
        let values = KEYS.map(|key| call(&mut client, &format!("GET {key}")).pretty());
        assert!(values.iter().all(|value| *value == values[0]), "cut at {at} of {file:?}");
        *found.entry(values[0].clone()).or_insert(0) += 1;
    }
    assert!(found.len() > 5, "hardly any cut left another state: {}", found.len());
}

/// The files in `home/data` whose names begin with `prefix`, in order.
fn files(home: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(home.join("data")).expect("listed").flatten();
    let is_wanted = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_wanted).collect();
    paths.sort();
    paths
}

/// Every commit of the log: its file, and where it begins.
fn commits(home: &Path) -> Vec<(PathBuf, u64)> {
    let of_file = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("read");
        let begins = move |at: &usize| bytes[*at..].starts_with(b"DWC2");
        let len = std::fs::metadata(&path).expect("there").len() as usize;
        let places: Vec<usize> = (0..len).step_by(4096).filter(begins).collect();
        places.into_iter().map(move |at| (path.clone(), at as u64))
    };
    files(home, "log-").into_iter().flat_map(of_file).collect()
}

/// A copy of the data in `from` whose log ends at offset `at` of `last`.
fn copy_until(from: &Path, to: &Path, last: &Path, at: u64) {
    std::fs::create_dir_all(to.join("data")).expect("made");
    for path in files(from, "log-").into_iter().filter(|path| path.as_path() <= last) {
        let copy = to.join("data").join(path.file_name().expect("a name"));
        std::fs::copy(&path, &copy).expect("copied");
        if path == last {
            let file = std::fs::File::options().write(true).open(&copy).expect("opened");
            let len = file.metadata().expect("there").len();
            file.write_all_at(&vec![0; (len - at) as usize], at).expect("written");
        }
    }
}

/// The lock of a directory is that of a process: it is free again after a kill.
#[test]
fn a_directory_is_free_again_when_its_server_is_dead() {
    let home = tempfile::tempdir().expect("a directory");
    for kills in [true, false] {
        let server = start(home.path(), &[]);
        assert!(Server::dse_in(program(), home.path(), &flags(&[])).is_err(), "it is in use");
        if kills { server.kill() } else { end(server) }
    }
    start(home.path(), &[]).kill();
}
