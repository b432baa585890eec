//! `maxmemory`: what goes, what stays, what is refused, and that a restart finds the same keys.

mod common;

use common::server::Server;
use common::value::Value;
use common::wire::{Client, encode};
use std::path::Path;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// Longer than anything here takes on a busy machine; no test asserts on elapsed time.
const PATIENCE: Duration = Duration::from_secs(60);

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_dse-server"))
}

fn server(flags: &[&str]) -> Server {
    let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
    Server::dse(program(), &flags).expect("the server starts")
}

/// A field of INFO.
fn info(client: &mut Client, field: &str) -> u64 {
    let Ok(Value::Bulk(text)) = client.call(&["INFO", "everything"]) else { panic!("no INFO") };
    let text = String::from_utf8(text).expect("INFO is text");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {field} in INFO"))
}

/// Sends requests in pipelines; how many were answered by an error, and one of them.
fn fill(client: &mut Client, requests: &[Vec<Vec<u8>>]) -> (usize, String) {
    let (mut errors, mut last) = (0, String::new());
    for batch in requests.chunks(200) {
        client.send(&batch.iter().flat_map(|request| encode(request)).collect::<Vec<u8>>());
        for _ in batch {
            if let Value::Error(text) = client.read().expect("a reply") {
                (errors, last) = (errors + 1, String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
    (errors, last)
}

fn set(name: String, bytes: usize) -> Vec<Vec<u8>> {
    vec![b"SET".to_vec(), name.into_bytes(), vec![b'v'; bytes]]
}

fn number(value: Result<Value, common::wire::WireError>) -> i64 {
    match value {
        Ok(Value::Int(number)) => number,
        other => panic!("{other:?} is no number"),
    }
}

/// Keys that are there and keys that were evicted, while ticks may go on evicting.
fn kept_and_evicted(client: &mut Client) -> (i64, u64) {
    loop {
        let before = info(client, "evicted_keys");
        let kept = number(client.call(&["DBSIZE"]));
        if info(client, "evicted_keys") == before {
            return (kept, before);
        }
    }
}

#[test]
fn under_every_allkeys_policy_writes_go_on_and_memory_stays() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
        let server = server(&["--maxmemory", "48mb", "--maxmemory-policy", policy]);
        let mut client = server.client();
        let requests: Vec<_> = (0..100_000).map(|n| set(format!("key:{n}"), 1000)).collect();
        assert_eq!(fill(&mut client, &requests), (0, String::new()), "{policy}");
        let (kept, gone) = kept_and_evicted(&mut client);
        assert_eq!(kept as u64 + gone, 100_000, "{policy}");
        assert!((20_000..60_000).contains(&kept), "{kept} keys are kept by {policy}");
        let bytes = info(&mut client, "dse_store_bytes");
        assert!(bytes <= 49 * MIB, "{bytes} bytes by {policy}");
    }
}

#[test]
fn keys_in_use_outlive_keys_that_came_once() {
    for policy in ["allkeys-lru", "allkeys-lfu"] {
        let server = server(&["--maxmemory", "32mb", "--maxmemory-policy", policy]);
        let mut client = server.client();
        let popular: Vec<_> = (0..2_000).map(|n| set(format!("popular:{n}"), 1000)).collect();
        fill(&mut client, &popular);
        for round in 0..20 {
            let once = (0..4_000).map(|n| set(format!("once:{round}:{n}"), 1000));
            let used = (0..2_000).map(|n| vec![b"GET".to_vec(), format!("popular:{n}").into()]);
            let both: Vec<_> = once.zip(used.cycle()).flat_map(|(a, b)| [a, b]).collect();
            assert_eq!(fill(&mut client, &both).0, 0);
        }
        let words = (0..2_000).map(|n| format!("popular:{n}"));
        let exists: Vec<String> = std::iter::once("EXISTS".to_string()).chain(words).collect();
        let left = number(client.call(&exists));
        assert!(left > 1_800, "{left} of 2000 popular keys are left by {policy}");
    }
}

#[test]
fn a_volatile_policy_spares_keys_without_a_deadline_and_refuses_when_only_they_are_left() {
    for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        let server = server(&["--maxmemory", "32mb", "--maxmemory-policy", policy]);
        let mut client = server.client();
        let lasting: Vec<_> = (0..10_000).map(|n| set(format!("lasting:{n}"), 1000)).collect();
        assert_eq!(fill(&mut client, &lasting).0, 0, "{policy}");
        let timed = |n: usize| {
            let mut request = set(format!("timed:{n}"), 1000);
            request.extend([b"EX".to_vec(), (10_000 + n).to_string().into_bytes()]);
            request
        };
        let requests: Vec<_> = (0..40_000).map(timed).collect();
        assert_eq!(fill(&mut client, &requests), (0, String::new()), "{policy}");
        let names = (0..10_000).map(|n| format!("lasting:{n}"));
        let exists: Vec<String> = std::iter::once("EXISTS".to_string()).chain(names).collect();
        assert_eq!(number(client.call(&exists)), 10_000, "{policy}");
        if policy == "volatile-ttl" {
            let left =
                number(client.call(&["EXISTS", "timed:39999", "timed:39990", "timed:39980"]));
            let gone = number(client.call(&["EXISTS", "timed:0", "timed:10", "timed:100"]));
            assert_eq!((left, gone), (3, 0), "the nearest deadlines go first");
        }
        let more: Vec<_> = (0..40_000).map(|n| set(format!("more:{n}"), 1000)).collect();
        let (errors, last) = fill(&mut client, &more);
        assert!(errors > 1_000, "{errors} errors by {policy}");
        assert_eq!(last, "OOM command not allowed when used memory > 'maxmemory'.");
        assert_eq!(number(client.call(&exists)), 10_000, "{policy}");
        assert_eq!(client.call(&["GET", "lasting:1"]), Ok(Value::Bulk(vec![b'v'; 1000])));
    }
}

#[test]
fn without_eviction_writes_are_refused_and_reads_and_deletes_go_on() {
    let server = server(&["--maxmemory", "16mb"]);
    let mut client = server.client();
    let requests: Vec<_> = (0..30_000).map(|n| set(format!("key:{n}"), 1000)).collect();
    let (errors, last) = fill(&mut client, &requests);
    assert!(errors > 10_000, "{errors}");
    assert_eq!(last, "OOM command not allowed when used memory > 'maxmemory'.");
    assert_eq!(info(&mut client, "evicted_keys"), 0);
    assert_eq!(client.call(&["STRLEN", "key:1"]), Ok(Value::Int(1000)));
    let mut deletes: Vec<_> = (0..5_000).map(|n| format!("key:{n}")).collect();
    deletes.insert(0, "DEL".to_string());
    assert_eq!(number(client.call(&deletes)), 5_000);
    // The memory is counted until the last reader of the keys has gone.
    let until = Instant::now() + PATIENCE;
    while client.call(&["SET", "again", "v"]) != Ok(Value::Simple("OK".into())) {
        assert!(Instant::now() < until, "room was not found again");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_was_flushed_is_in_nobodys_way() {
    for policy in ["noeviction", "allkeys-lru"] {
        let server = server(&["--maxmemory-policy", policy]);
        let mut client = server.client();
        let requests: Vec<_> = (0..200_000).map(|n| set(format!("key:{n}"), 200)).collect();
        fill(&mut client, &requests);
        let limit = (info(&mut client, "dse_store_bytes") + 32 * MIB).to_string();
        client.call(&["CONFIG", "SET", "maxmemory", &limit]).expect("a limit");
        for round in 0..3 {
            assert_eq!(client.call(&["FLUSHALL"]), Ok(Value::Simple("OK".into())));
            assert_eq!(fill(&mut client, &requests[..100_000]), (0, String::new()), "{round}");
            // What is resident but free again counts until it is given back: a few may go.
            let (kept, gone) = kept_and_evicted(&mut client);
            assert!(gone < 5_000 * (round + 1), "{kept}, {gone} by {policy}");
        }
    }
}

#[test]
fn a_limit_of_a_few_megabytes_holds_keys() {
    let server = server(&["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"]);
    let mut client = server.client();
    let requests: Vec<_> = (0..30_000).map(|n| set(format!("key:{n}"), 100)).collect();
    assert_eq!(fill(&mut client, &requests), (0, String::new()));
    let (kept, _) = kept_and_evicted(&mut client);
    assert!((5_000..30_000).contains(&kept), "{kept} keys are kept");
}

#[test]
fn a_limit_that_is_lowered_is_reached_without_a_request() {
    let server = server(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    let mut client = server.client();
    let requests: Vec<_> = (0..30_000).map(|n| set(format!("key:{n}"), 1000)).collect();
    assert_eq!(fill(&mut client, &requests).0, 0);
    assert_eq!(info(&mut client, "evicted_keys"), 0);
    client.call(&["CONFIG", "SET", "maxmemory", "20mb"]).expect("a reply");
    let until = Instant::now() + PATIENCE;
    while info(&mut client, "dse_store_bytes") > 21 * MIB {
        assert!(Instant::now() < until, "it was never reached");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(number(client.call(&["DBSIZE"])) > 5_000, "no more than needed goes");
}

#[test]
fn a_restart_finds_what_eviction_has_left() {
    let home = tempfile::tempdir().expect("a directory");
    let flags = ["--maxmemory", "32mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes"];
    let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
    let server = Server::dse_in(program(), home.path(), &flags).expect("the server starts");
    let mut client = server.client();
    let requests: Vec<_> = (0..50_000).map(|n| set(format!("key:{n}"), 1000)).collect();
    assert_eq!(fill(&mut client, &requests), (0, String::new()));
    // Ticks go on evicting while what is resident beside the data grows.
    client.call(&["CONFIG", "SET", "maxmemory", "0"]).expect("a reply");
    let mut before = keys(&mut client);
    assert!(before.len() < 40_000, "{}", before.len());
    server.kill();
    // Without a limit, so that nothing that replaying does could hide behind it.
    let flags = ["--appendonly".to_string(), "yes".to_string()];
    let server = Server::dse_in(program(), home.path(), &flags).expect("it starts again");
    let mut after = keys(&mut server.client());
    before.sort();
    after.sort();
    let lost = before.iter().filter(|key| after.binary_search(key).is_err()).count();
    assert!(before == after, "{} of {} lost, {} after", lost, before.len(), after.len());
}

fn keys(client: &mut Client) -> Vec<String> {
    match client.call(&["KEYS", "*"]) {
        Ok(Value::Array(keys)) => keys.iter().map(|key| format!("{key:?}")).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_listens_is_told_of_evictions() {
    let flags = ["--maxmemory", "16mb", "--maxmemory-policy", "allkeys-random"];
    let server = server(&[&flags[..], &["--notify-keyspace-events", "Ee"]].concat());
    let mut listener = server.client();
    listener.call(&["SUBSCRIBE", "__keyevent@0__:evicted"]).expect("a reply");
    let mut client = server.client();
    let requests: Vec<_> = (0..20_000).map(|n| set(format!("key:{n}"), 1000)).collect();
    assert_eq!(fill(&mut client, &requests).0, 0);
    let Ok(Value::Array(message)) = listener.read() else { panic!("no message") };
    let Value::Bulk(key) = &message[2] else { panic!("{message:?}") };
    let key = String::from_utf8(key.clone()).expect("a key of ours");
    assert!(key.starts_with("key:"), "{key}");
}

#[test]
fn who_listens_is_told_of_what_a_lowered_limit_evicts_although_nobody_asks_anything() {
    let home = tempfile::tempdir().expect("a directory");
    let flags = ["--appendonly", "yes", "--save", "", "--notify-keyspace-events", "Ee"];
    let flags = flags.iter().chain(&["--maxmemory-policy", "allkeys-lru"]);
    let flags: Vec<String> = flags.map(|flag| flag.to_string()).collect();
    let server = Server::dse_in(program(), home.path(), &flags).expect("the server starts");
    let mut listener = server.client();
    listener.call(&["SUBSCRIBE", "__keyevent@0__:evicted"]).expect("a reply");
    let mut client = server.client();
    for key in ["a", "b", "c"] {
        assert_eq!(client.call(&["SET", key, "v"]), Ok(Value::Simple("OK".into())));
        client.call(&["CONFIG", "SET", "maxmemory", "1"]).expect("a reply");
        let Ok(Value::Array(message)) = listener.read() else { panic!("no message") };
        assert_eq!(message[2], Value::bulk(key));
        client.call(&["CONFIG", "SET", "maxmemory", "0"]).expect("a reply");
    }
}

#[test]
fn hot_keys_are_known_by_name_and_by_frequency() {
    let server = server(&[]);
    let mut client = server.client();
    let requests: Vec<_> = (0..20_000).map(|n| set(format!("key:{n}"), 10)).collect();
    fill(&mut client, &requests);
    for n in 0..20_000 {
        let hot = vec![b"GET".to_vec(), format!("key:{}", n % 3).into_bytes()];
        let cold = vec![b"GET".to_vec(), format!("key:{n}").into_bytes()];
        if n % 1000 == 0 {
            fill(&mut client, &[]);
        }
        fill(&mut client, &[hot, cold]);
    }
    let Ok(Value::Array(hot)) = client.call(&["HOTKEYS", "COUNT", "3"]) else { panic!("no array") };
    assert_eq!(hot.len(), 6);
    for at in [0, 2, 4] {
        let Value::Bulk(name) = &hot[at] else { panic!("{hot:?}") };
        assert!([&b"key:0"[..], b"key:1", b"key:2"].contains(&name.as_slice()), "{hot:?}");
    }
    let freq = |client: &mut Client, key: &str| number(client.call(&["OBJECT", "FREQ", key]));
    assert!(freq(&mut client, "key:1") > freq(&mut client, "key:15000") + 10);
}
