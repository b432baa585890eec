//! What clients are told when the disk fails for good while their replies wait for it: each
//! request gets an answer, in its place, and the connection goes on.

mod common;

use common::disk::MemoryDisk;
use common::inside::{Inside, SEGMENT};
use common::value::Value;
use common::wire::{Client, encode};
use dse::sys::disk::Disk;
use dse::wal::record::take_command;
use dse::wal::{LogReader, SyncMode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// Operations that each connection has on their way at once.
const DEPTHS: [u64; 3] = [1, 4, 16];
/// Bytes of a value that is sent from where it lies.
const LARGE: usize = 40_000;
/// Rounds that a connection goes on after the first error.
const ROUNDS_AFTER: u64 = 3;

/// What operation `number` of a connection sends, and which answers are right but for errors.
fn operation(connection: usize, number: u64) -> Vec<(Vec<String>, Value)> {
    let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
    let (key, text) = (format!("k{connection}"), number.to_string());
    let ok = || Value::Simple(b"OK".into());
    let queued = || Value::Simple(b"QUEUED".into());
    vec![
        (words(&format!("SET {key} {text}")), ok()),
        (words(&format!("GET {key}")), Value::bulk(text.clone())),
        (words("MULTI"), ok()),
        (words(&format!("SET t{connection} {text}")), queued()),
        (words(&format!("GET t{connection}")), queued()),
        (words("EXEC"), Value::Array(vec![ok(), Value::bulk(text)])),
        (words("GET large"), Value::bulk("l".repeat(LARGE))),
        (words("PING"), Value::Simple(b"PONG".into())),
    ]
}

/// What a connection saw: the last number whose SET was acknowledged, and how many errors.
fn run(server: &Inside, connection: usize, depth: u64) -> (u64, u64) {
    let mut client = Client::connect(server.address).expect("connected");
    let (mut number, mut acknowledged, mut errors, mut rounds_after) = (1, 0, 0, 0);
    let until = Instant::now() + Duration::from_secs(20);
    while rounds_after < ROUNDS_AFTER {
        assert!(Instant::now() < until, "nothing fails");
        let numbers = number..number + depth;
        let all: Vec<_> = numbers.clone().map(|number| operation(connection, number)).collect();
        let requests = all.iter().flatten();
        let bytes: Vec<u8> = requests.flat_map(|(request, _)| encode(request)).collect();
        assert!(client.send(&bytes));
        for (number, expected) in numbers.zip(&all) {
            for (at, (request, want)) in expected.iter().enumerate() {
                let reply = client.read();
                let reply = reply.unwrap_or_else(|error| panic!("{request:?}: {error}"));
                match &reply {
                    Value::Error(text) => {
                        let text = String::from_utf8_lossy(text);
                        let is_told = text.starts_with("MISCONF")
                            || text.starts_with("EXECABORT")
                            || text.contains("EXEC without MULTI");
                        assert!(is_told, "{request:?}: {text}");
                        errors += 1;
                    }
                    _ if errors == 0 => {
                        assert_eq!(reply, *want, "{request:?}");
                        acknowledged = if at == 0 { number } else { acknowledged };
                    }
                    // A value of before, which is durable, or what needs no disk.
                    _ => assert_ne!(at, 0, "{request:?} after an error: {}", reply.pretty()),
                }
            }
        }
        number += depth;
        rounds_after += u64::from(errors > 0);
    }
    // The connection is whole: what does not depend on the disk is answered.
    assert_eq!(client.call(&["ECHO", "end"]).expect("a reply"), Value::bulk("end"));
    (acknowledged, errors)
}

/// The highest number in the log for each key.
fn logged(disk: &dyn Disk) -> BTreeMap<Vec<u8>, u64> {
    let mut reader = LogReader::open(disk, SEGMENT, 4096).expect("there");
    let mut found = BTreeMap::new();
    while let Some(chunk) = reader.next_chunk().expect("readable") {
        for record in chunk.records() {
            let (mut body, mut args) = (record.body, Vec::new());
            while !body.is_empty() {
                take_command(&mut body, &mut args).expect("whole");
                if let Ok(number) = String::from_utf8_lossy(args[2]).parse() {
                    found.insert(args[1].to_vec(), number);
                }
            }
        }
    }
    found
}

#[test]
fn every_request_is_answered_in_its_place_when_the_disk_fails_for_good() {
    for mode in [SyncMode::Always, SyncMode::Never] {
        for fails_in in [0, 7, 60] {
            let memory = MemoryDisk::new();
            let disk: Arc<dyn Disk> = Arc::new(memory.clone());
            let server = Inside::start(&disk, mode);
            let mut client = Client::connect(server.address).expect("connected");
            let large = "l".repeat(LARGE);
            assert_eq!(
                client.call(&["SET", "large", &large]).expect("a reply"),
                Value::Simple(b"OK".into())
            );
            memory.faults.delay_us.store(500, SeqCst);
            memory.faults.for_good.store(true, SeqCst);
            memory.faults.write_in.store(fails_in, SeqCst);
            let seen: Vec<(u64, u64)> = std::thread::scope(|scope| {
                let start = |(at, depth): (usize, &u64)| {
                    let (server, depth) = (&server, *depth);
                    scope.spawn(move || run(server, at, depth))
                };
                let threads: Vec<_> = DEPTHS.iter().enumerate().map(start).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            // What was durable can be read, and what was not is told of.
            assert_eq!(
                client.call(&["STRLEN", "large"]).expect("a reply"),
                Value::Int(LARGE as i64)
            );
            drop(server);
            let logged = logged(&*disk);
            for (connection, (acknowledged, errors)) in seen.iter().enumerate() {
                let key = format!("k{connection}").into_bytes();
                let kept = logged.get(&key).copied().unwrap_or(0);
                assert!(*errors > 0);
                assert!(kept >= *acknowledged, "{acknowledged} acknowledged, {kept} kept");
            }
        }
    }
}

#[test]
fn a_subscriber_is_closed_rather_than_told_in_the_middle_of_its_messages() {
    let memory = MemoryDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let server = Inside::start(&disk, SyncMode::Always);
    let mut client = Client::connect(server.address).expect("connected");
    let set = ["CONFIG", "SET", "notify-keyspace-events", "KEA"];
    assert_eq!(client.call(&set).expect("a reply"), Value::Simple(b"OK".into()));
    let mut subscriber = Client::connect(server.address).expect("connected");
    subscriber.send(&encode(&["SUBSCRIBE", "__keyspace@0__:k"]));
    assert!(subscriber.read().is_ok());
    memory.faults.for_good.store(true, SeqCst);
    memory.faults.write_in.store(0, SeqCst);
    assert!(matches!(client.call(&["SET", "k", "v"]), Ok(Value::Error(_))));
    match subscriber.read() {
        Ok(message) => panic!("{}", message.pretty()),
        Err(error) => assert!(!error.to_string().contains("no reply"), "{error}"),
    }
}
