//! A cluster of three real processes: any node answers for all keys, and none of them is needed.

mod common;

#[path = "cluster/clients.rs"]
mod clients;
#[path = "cluster/nodes.rs"]
mod nodes;

use common::value::Value;
use common::wire::{Client, encode};
use nodes::{Cluster, NODES, text};
use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn simple(text: &str) -> Value {
    Value::Simple(text.as_bytes().to_vec())
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

fn call(client: &mut Client, line: &str) -> Value {
    let words: Vec<&str> = line.split(' ').collect();
    client.call(&words).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn is_error(value: &Value, code: &str) -> bool {
    matches!(value, Value::Error(text) if text.starts_with(code.as_bytes()))
}

#[test]
fn any_node_answers_for_all_keys() {
    let cluster = Cluster::start();
    let mut clients: Vec<Client> = (0..NODES).map(|at| cluster.client(at)).collect();
    for number in 0..60 {
        let set = call(&mut clients[number % NODES], &format!("SET key:{number} {number}"));
        assert_eq!(set, simple("OK"));
    }
    for number in 0..60 {
        for client in &mut clients {
            assert_eq!(call(client, &format!("GET key:{number}")), bulk(&number.to_string()));
        }
    }
    for round in 1..=9 {
        let client = &mut clients[round % NODES];
        assert_eq!(call(client, "INCR counter"), Value::Int(round as i64));
    }
    assert_eq!(call(&mut clients[0], "DBSIZE"), Value::Int(61));
    several_keys(&mut clients[1]);
    transactions(&mut clients[2]);
    let mut other = cluster.client(0);
    watching(&mut clients[1], &mut other);
    refusals(&mut clients[0]);
    assert_eq!(call(&mut clients[0], "FLUSHALL"), simple("OK"));
    assert_eq!(call(&mut clients[2], "DBSIZE"), Value::Int(0));
    deadlines(&cluster, &mut clients);
    redirections(&cluster);
}

fn several_keys(client: &mut Client) {
    assert_eq!(call(client, "MSET a 1 b 2 c 3 d 4"), simple("OK"));
    let got = call(client, "MGET d none a b");
    assert_eq!(got, Value::Array(vec![bulk("4"), Value::NilBulk, bulk("1"), bulk("2")]));
    assert_eq!(call(client, "EXISTS a b a none"), Value::Int(3));
    assert_eq!(call(client, "DEL a b c none"), Value::Int(3));
    assert_eq!(call(client, "UNLINK d"), Value::Int(1));
    assert_eq!(call(client, "RPUSH {t}list 1 2 3"), Value::Int(3));
    assert_eq!(call(client, "COPY {t}list {t}other"), Value::Int(1));
    let range = call(client, "LRANGE {t}other 1 -1");
    assert_eq!(range, Value::Array(vec![bulk("2"), bulk("3")]));
    assert!(is_error(&call(client, "GET {t}list"), "WRONGTYPE"));
}

fn transactions(client: &mut Client) {
    assert_eq!(call(client, "MULTI"), simple("OK"));
    assert_eq!(call(client, "SET {x}a 5"), simple("QUEUED"));
    assert_eq!(call(client, "INCR {x}a"), simple("QUEUED"));
    assert_eq!(call(client, "GET {x}a"), simple("QUEUED"));
    let replies = vec![simple("OK"), Value::Int(6), bulk("6")];
    assert_eq!(call(client, "EXEC"), Value::Array(replies));
    assert_eq!(call(client, "MULTI"), simple("OK"));
    assert_eq!(call(client, "SET a 5"), simple("QUEUED"));
    assert!(is_error(&call(client, "SET b 5"), "CROSSSLOT"));
    assert!(is_error(&call(client, "EXEC"), "EXECABORT"));
    assert_eq!(call(client, "EXISTS a"), Value::Int(0));
}

/// A transaction is void if a slot that it watches was written meanwhile, through whatever node.
fn watching(client: &mut Client, other: &mut Client) {
    for (between, wanted) in [("SET {y}other 1", Value::NilArray), ("GET {y}k", Value::Null)] {
        assert_eq!(call(client, "SET {y}k 0"), simple("OK"));
        assert_eq!(call(client, "WATCH {y}k"), simple("OK"));
        call(other, between);
        assert_eq!(call(client, "MULTI"), simple("OK"));
        assert_eq!(call(client, "INCR {y}k"), simple("QUEUED"));
        let got = call(client, "EXEC");
        let is_done = got == Value::Array(vec![Value::Int(1)]);
        assert!(got == wanted || wanted == Value::Null && is_done, "{between}: {got:?}");
    }
    assert_eq!(call(client, "SET {y}k 0"), simple("OK"));
    assert_eq!(call(client, "WATCH {y}k"), simple("OK"));
    assert_eq!(call(client, "UNWATCH"), simple("OK"));
    assert_eq!(call(other, "SET {y}k 5"), simple("OK"));
    assert_eq!(call(client, "MULTI"), simple("OK"));
    assert_eq!(call(client, "INCR {y}k"), simple("QUEUED"));
    assert_eq!(call(client, "EXEC"), Value::Array(vec![Value::Int(6)]));
}

fn refusals(client: &mut Client) {
    let crossing = call(client, "RENAME a b");
    let Value::Error(why) = crossing else { panic!("{crossing:?}") };
    let why = String::from_utf8_lossy(&why).into_owned();
    assert!(why.starts_with("CROSSSLOT "), "{why}");
    assert!(why.contains("15495") && why.contains("3300"), "both slots are named: {why}");
    for line in ["KEYS *", "SCAN 0", "SELECT 1", "SWAPDB 0 1", "CLUSTER MEET h 1"] {
        assert!(is_error(&call(client, line), "ERR"), "{line}");
    }
    assert_eq!(call(client, "SELECT 0"), simple("OK"));
}

/// A key is gone everywhere once log time has passed its deadline.
fn deadlines(cluster: &Cluster, clients: &mut [Client]) {
    assert_eq!(call(&mut clients[0], "SET short 1 PX 300"), simple("OK"));
    assert_eq!(call(&mut clients[1], "GET short"), bulk("1"));
    for client in clients.iter_mut() {
        cluster.wait_until("the end of a key", || call(client, "GET short") == Value::NilBulk);
    }
}

fn redirections(cluster: &Cluster) {
    let mut to = HashMap::new();
    for at in 0..NODES {
        let mut client = Client::connect(cluster.redirect_address(at)).expect("it listens");
        for key in ["a", "b", "c", "d", "e", "f"] {
            match call(&mut client, &format!("SET {key} 1")) {
                Value::Error(text) => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    let target = text.rsplit(' ').next().unwrap_or_default().to_owned();
                    assert!(text.starts_with("MOVED "), "{text}");
                    to.insert(key, target);
                }
                other => assert_eq!(other, simple("OK")),
            }
        }
    }
    for (key, target) in to {
        let mut client = Client::connect(target.parse().expect("an address")).expect("it listens");
        assert_eq!(call(&mut client, &format!("GET {key}")), bulk("1"), "{key} at {target}");
    }
    let slots = call(&mut cluster.client(0), "CLUSTER SLOTS");
    let Value::Array(ranges) = slots else { panic!("{slots:?}") };
    let covered: i64 = ranges.iter().map(slots_of).sum();
    assert_eq!(covered, 16_384);
}

fn slots_of(range: &Value) -> i64 {
    match range {
        Value::Array(parts) => match &parts[..2] {
            [Value::Int(first), Value::Int(last)] => last - first + 1,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let cluster = Cluster::start();
    let mut client = cluster.client(1);
    let (mut sent, mut wanted) = (Vec::new(), Vec::new());
    for number in 0..300 {
        let key = format!("k{}", number % 7);
        let value = number.to_string();
        sent.extend(encode(&["SET", &key, &value]));
        wanted.push(simple("OK"));
        sent.extend(encode(&["GET", &key]));
        wanted.push(bulk(&value));
        sent.extend(encode(&["ECHO", &value]));
        wanted.push(bulk(&value));
        sent.extend(encode(&["NONSENSE"]));
        wanted.push(Value::Null);
        sent.extend(encode(&["INCR", "count"]));
        wanted.push(Value::Int(number + 1));
        sent.extend(encode(&["MGET", "k0", "k1", &key]));
        wanted.push(Value::Null);
    }
    client.send(&sent);
    for (at, wanted) in wanted.iter().enumerate() {
        let got = client.read().expect("a reply");
        match at % 6 {
            3 => assert!(is_error(&got, "ERR unknown command"), "{at}: {got:?}"),
            5 => match got {
                Value::Array(values) => {
                    assert_eq!(values[2], bulk(&(at / 6).to_string()), "{at}");
                }
                other => panic!("{at}: {other:?}"),
            },
            _ => assert_eq!(got, *wanted, "{at}"),
        }
    }
}

/// As Redis does it: queueing says where the key is, and the transaction is void then.
#[test]
fn a_transaction_on_the_redirect_port_of_another_node_is_sent_on() {
    let cluster = Cluster::start();
    let mut moved = 0;
    for at in 0..NODES {
        let mut client = Client::connect(cluster.redirect_address(at)).expect("it listens");
        assert_eq!(call(&mut client, "MULTI"), simple("OK"));
        let queued = call(&mut client, "SET {one}a 1");
        let done = call(&mut client, "EXEC");
        if is_error(&queued, "MOVED") {
            assert!(is_error(&done, "EXECABORT"), "{done:?}");
            moved += 1;
        } else {
            assert_eq!(queued, simple("QUEUED"));
            assert_eq!(done, Value::Array(vec![simple("OK")]));
        }
        assert_eq!(call(&mut client, "PING"), simple("PONG"), "no transaction is left open");
    }
    assert_eq!(moved, NODES - 1);
}

/// What a writer knows of one key: the last value that was answered, and those after it of which
/// nobody knows.
#[derive(Clone, Default)]
struct Known {
    answered: Option<i64>,
    perhaps: Vec<i64>,
}

/// Writes ascending numbers until `stop`, going on at another node when one is lost.
fn write(cluster: &Cluster, writer: usize, stop: &AtomicBool) -> HashMap<String, Known> {
    let mut known: HashMap<String, Known> = HashMap::new();
    let mut at = writer % NODES;
    let mut client = None;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let key = format!("w{writer}:{}", number % 40);
        let known = known.entry(key.clone()).or_default();
        let open = client.take().or_else(|| Client::connect(cluster.address(at)).ok());
        let Some(mut open) = open else {
            at = (at + 1) % NODES;
            continue;
        };
        match open.call(&["SET", &key, &number.to_string()]) {
            Ok(Value::Simple(_)) => {
                *known = Known { answered: Some(number), perhaps: Vec::new() };
                client = Some(open);
            }
            Ok(Value::Error(text)) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                if text.starts_with("UNCERTAIN") {
                    known.perhaps.push(number);
                } else {
                    let is_proof = ["TRYAGAIN", "CLUSTERDOWN", "LOADING"];
                    assert!(is_proof.iter().any(|code| text.starts_with(code)), "{text}");
                }
                client = Some(open);
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => {
                known.perhaps.push(number);
                at = (at + 1) % NODES;
            }
        }
    }
    known
}

/// Every node must have the last answered value of every key, or a later one that was perhaps
/// written.
fn check(cluster: &Cluster, all: &[HashMap<String, Known>]) -> usize {
    let mut checked = 0;
    for at in 0..NODES {
        let mut client = cluster.client(at);
        for (key, known) in all.iter().flatten() {
            let Some(answered) = known.answered else { continue };
            let value = text(Some(call(&mut client, &format!("GET {key}"))));
            let value: i64 = value.parse().unwrap_or_else(|_| panic!("{key} at {at}: {value}"));
            let is_there = value == answered || known.perhaps.contains(&value);
            assert!(is_there, "{key} at node {at}: {value}, but {answered} was answered");
            checked += 1;
        }
    }
    checked
}

#[test]
fn an_answered_write_survives_kill_9_of_each_node_in_turn() {
    let mut cluster = Cluster::start();
    let mut all = Vec::new();
    for victim in 0..NODES {
        let stop = AtomicBool::new(false);
        let written = std::thread::scope(|scope| {
            let (shared, stop) = (&cluster, &stop);
            let writers: Vec<_> = (0..4)
                .map(|writer| scope.spawn(move || write(shared, victim * 10 + writer, stop)))
                .collect();
            std::thread::sleep(Duration::from_millis(700));
            // As `kill -9`; the child is reaped when it is started again.
            nodes_kill(shared, victim);
            std::thread::sleep(Duration::from_millis(2500));
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().map(|writer| writer.join().expect("it ends")).collect::<Vec<_>>()
        });
        all.extend(written);
        cluster.kill(victim);
        cluster.start_node(victim);
        cluster.wait_until_whole();
        assert!(check(&cluster, &all) > 100, "hardly anything was written");
    }
}

/// Kills a node while others use the cluster.
fn nodes_kill(cluster: &Cluster, at: usize) {
    let id = cluster.process_id(at).expect("it runs").to_string();
    let killed = Command::new("kill").args(["-9", &id]).status().expect("the program runs");
    assert!(killed.success());
}

#[test]
fn everything_is_there_after_all_nodes_were_killed_and_after_they_ended() {
    let mut cluster = Cluster::start();
    let mut client = cluster.client(0);
    for number in 0..200 {
        assert_eq!(call(&mut client, &format!("SET key:{number} {number}")), simple("OK"));
    }
    assert_eq!(call(&mut client, "ZADD scores 1 one 2 two"), Value::Int(2));
    (0..NODES).for_each(|at| cluster.kill(at));
    (0..NODES).for_each(|at| cluster.start_node(at));
    cluster.wait_until_whole();
    all_there(&cluster);
    for at in 0..NODES {
        assert!(cluster.end(at), "{}", cluster.said(at));
    }
    (0..NODES).for_each(|at| cluster.start_node(at));
    cluster.wait_until_whole();
    all_there(&cluster);
}

fn all_there(cluster: &Cluster) {
    for at in 0..NODES {
        let mut client = cluster.client(at);
        for number in 0..200 {
            let got = call(&mut client, &format!("GET key:{number}"));
            assert_eq!(got, bulk(&number.to_string()), "key:{number} at node {at}");
        }
        assert_eq!(call(&mut client, "ZCARD scores"), Value::Int(2));
        assert_eq!(call(&mut client, "DBSIZE"), Value::Int(201));
    }
}

/// More than the log keeps for those who lag is written while a node is away: it gets a snapshot,
/// and is as good as the others then.
#[test]
fn a_node_that_lags_far_behind_comes_back_by_a_snapshot() {
    let mut cluster = Cluster::start();
    cluster.kill(2);
    let value = "v".repeat(64 * 1024);
    let mut client = cluster.client(0);
    for round in 0..100 {
        let reply = client.call(&["SET", &format!("{{one}}{}", round % 20), &value]);
        let mut reply = reply.expect("a reply");
        for _ in 0..100 {
            if !is_error(&reply, "TRYAGAIN") {
                break;
            }
            let again = client.call(&["SET", &format!("{{one}}{}", round % 20), &value]);
            reply = again.expect("a reply");
        }
        assert_eq!(reply, simple("OK"), "round {round}");
    }
    assert_eq!(call(&mut client, "SET {one}last 1"), simple("OK"));
    cluster.start_node(2);
    cluster.wait_until_whole();
    cluster.wait_until("all of it", || {
        let counted = text(cluster.client(2).call(&["CLUSTER", "COUNTKEYSINSLOT", "9084"]).ok());
        counted.contains("21")
    });
    cluster.kill(0);
    cluster.wait_until_whole();
    let mut client = cluster.client(2);
    assert_eq!(call(&mut client, "GET {one}last"), bulk("1"));
    assert_eq!(call(&mut client, "STRLEN {one}7"), Value::Int(64 * 1024));
}

/// A node is away while much more is written than a log may hold: the log of the others stays short
/// all the same, and the one that lags gets a snapshot.
#[test]
fn a_log_stays_short_whoever_lags() {
    let mut cluster =
        Cluster::start_with(&["--wal-max-bytes", "4mb", "--wal-segment-bytes", "1mb"]);
    cluster.kill(2);
    let value = "v".repeat(64 * 1024);
    let mut client = cluster.client(0);
    let times = |client: &mut Client| info_number(client, "cluster_log_shortened");
    let mut written = 0;
    while times(&mut client) < 2 {
        assert!(written < 10_000, "{} bytes and not made shorter", written * value.len());
        for _ in 0..20 {
            written += 1;
            let reply = client.call(&["SET", &format!("key:{}", written % 16), &value]);
            let reply = reply.expect("a reply");
            assert!(reply == simple("OK") || is_error(&reply, "TRYAGAIN"), "{reply:?}");
        }
    }
    cluster.wait_until("a short log", || {
        let most = info_number(&mut client, "cluster_log_bytes_most");
        let on_disk: u64 = std::fs::read_dir(cluster.data(0))
            .expect("it is there")
            .map(|entry| entry.expect("a file"))
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("log-"))
            .map(|entry| entry.metadata().expect("it has a size").len())
            .sum();
        // Files are as long as they are, and some wait to be used again.
        let long = info_number(&mut client, "cluster_log_bytes");
        println!("the log: {long} bytes, {most} at most, {on_disk} on disk");
        long <= most && on_disk <= 3 * most
    });
    assert_eq!(call(&mut client, "SET last 1"), simple("OK"));
    cluster.start_node(2);
    cluster.wait_until_whole();
    cluster.kill(0);
    cluster.wait_until_whole();
    let mut client = cluster.client(2);
    assert_eq!(call(&mut client, "GET last"), bulk("1"));
    assert_eq!(call(&mut client, "STRLEN key:7"), Value::Int(64 * 1024));
}

/// A number that INFO shows.
fn info_number(client: &mut Client, field: &str) -> u64 {
    info_of(&text(client.call(&["INFO", "cluster"]).ok()), field)
}

fn info_of(info: &str, field: &str) -> u64 {
    let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = line.unwrap_or_else(|| panic!("no {field} in {info}"));
    value.trim().parse().unwrap_or_else(|_| panic!("{field}: {value}"))
}

/// The wall clocks of all nodes jump by years, there and back: no key ends by it, on no node, not
/// even where one is killed, or begins with a wrong clock.
#[test]
fn a_jump_of_the_wall_clock_ends_no_key() {
    let Some(library) = faketime() else {
        println!("SKIPPED: libfaketime is not installed; nothing was tested here");
        return;
    };
    let mut cluster = Cluster::prepare(&[]);
    let wall = cluster.file("wall");
    let set_wall = |text: &str| std::fs::write(&wall, text).expect("a file");
    set_wall("+0");
    for (name, value) in [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", wall.to_str().expect("a path")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ] {
        cluster.environment.push((name.into(), value.into()));
    }
    cluster.begin();
    let since_1970 = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    let at = since_1970.as_secs() + 1000;
    let mut client = cluster.client(0);
    assert_eq!(call(&mut client, "SET in 1 EX 1000"), simple("OK"));
    assert_eq!(call(&mut client, "SET at 1"), simple("OK"));
    assert_eq!(call(&mut client, &format!("EXPIREAT at {at}")), Value::Int(1));
    for (jump, killed) in [("+3650d", 0), ("+0", 1), ("-3650d", 2)] {
        let heard = cluster.said(1).matches("the wall clock jumped").count();
        set_wall(jump);
        if jump != "+0" {
            cluster.wait_until("a jump that is noticed", || {
                cluster.said(1).matches("the wall clock jumped").count() > heard
            });
        }
        std::thread::sleep(Duration::from_secs(1));
        keys_are_far_from_their_end(&cluster, jump);
        cluster.kill(killed);
        cluster.wait_until_whole();
        keys_are_far_from_their_end(&cluster, jump);
        cluster.start_node(killed);
        cluster.wait_until_whole();
        keys_are_far_from_their_end(&cluster, jump);
    }
}

fn keys_are_far_from_their_end(cluster: &Cluster, jump: &str) {
    for at in (0..NODES).filter(|&at| cluster.process_id(at).is_some()) {
        for key in ["in", "at"] {
            let left = call(&mut cluster.client(at), &format!("TTL {key}"));
            let is_far = matches!(left, Value::Int(700..=1010));
            assert!(is_far, "{key} at node {at} after {jump}: {left:?}");
        }
    }
}

/// The library that shows programs another wall clock.
fn faketime() -> Option<String> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    let paths = folders.map(|folder| format!("{folder}/faketime/libfaketimeMT.so.1"));
    paths.into_iter().find(|path| std::path::Path::new(path).exists())
}

/// An empty directory under an old name is a new replica: it gets everything from the others before
/// it counts for anything.
#[test]
fn a_wiped_disk_is_filled_again_and_counts_then() {
    let mut cluster = Cluster::start();
    write_keys(&cluster);
    cluster.kill(1);
    std::fs::remove_dir_all(cluster.data(1)).expect("it is ours");
    cluster.start_node(1);
    counts_when_filled(&mut cluster);
}

/// One bit of what a node had acknowledged is turned while it is down: it must not be believed, its
/// log is kept under another name, and everything comes from the others.
#[test]
fn a_damaged_log_is_set_aside_and_filled_again() {
    let mut cluster = Cluster::start();
    write_keys(&cluster);
    cluster.kill(1);
    turn_bit(&cluster.data(1));
    cluster.start_node(1);
    counts_when_filled(&mut cluster);
    let said = cluster.said(1);
    assert!(said.contains("is damaged") && said.contains("damaged-1-"), "{said}");
    let entries = std::fs::read_dir(cluster.data(1)).expect("it is there");
    let names: Vec<String> = entries
        .map(|entry| entry.expect("a name").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("damaged-1-log-")), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("lost-")), "{names:?}");
}

fn write_keys(cluster: &Cluster) {
    let mut client = cluster.client(0);
    for number in 0..300 {
        assert_eq!(call(&mut client, &format!("SET key:{number} {number}")), simple("OK"));
    }
}

/// Turns a bit in the middle of what the log of a node holds.
fn turn_bit(data: &std::path::Path) {
    let entries = std::fs::read_dir(data).expect("it is there");
    let paths = entries.map(|entry| entry.expect("a name").path());
    let is_log = |path: &std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-"))
    };
    let path = paths.filter(is_log).min().expect("a log");
    let mut bytes = std::fs::read(&path).expect("it can be read");
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("something was written");
    bytes[written / 2] ^= 1;
    std::fs::write(&path, bytes).expect("it can be written");
}

/// Node 1 says of itself how far it is with being filled, from its first moment to the end of that.
/// It looks once a second, so what takes less may not be seen.
fn tells_how_far_it_is(cluster: &Cluster) {
    let mut last = None;
    cluster.wait_until("an end of being filled", || {
        let mut client = cluster.client(1);
        let state = text(client.call(&["CLUSTER", "INFO"]).ok());
        assert!(state.contains("cluster_state:"), "asked as early as this: {state}");
        let info = text(client.call(&["INFO", "cluster"]).ok());
        if info_of(&info, "cluster_refill_in_progress") == 0 {
            return last.is_some() || cluster.said(1).contains("filled from a snapshot");
        }
        let now = ["percent", "groups_done", "bytes"]
            .map(|field| info_of(&info, &format!("cluster_refill_{field}")));
        assert!(now[0] <= 100 && now[1] < info_of(&info, "cluster_refill_groups"), "{info}");
        let before = last.replace(now).unwrap_or_default();
        let goes_on = before.iter().zip(now).all(|(before, now)| now >= *before);
        assert!(goes_on, "{before:?}, then {now:?}");
        false
    });
}

/// Node 1 gets all keys from the others, and one of those is not needed any more then.
fn counts_when_filled(cluster: &mut Cluster) {
    tells_how_far_it_is(cluster);
    cluster.wait_until("all keys on the new disk", || {
        let mut client = cluster.client(1);
        let here = (0..300).filter(|number| {
            let slot = text(client.call(&["CLUSTER", "KEYSLOT", &format!("key:{number}")]).ok());
            let slot: String = slot.chars().filter(char::is_ascii_digit).collect();
            let counted = client.call(&["CLUSTER", "COUNTKEYSINSLOT", &slot]).ok();
            matches!(counted, Some(Value::Int(1..)))
        });
        here.count() == 300
    });
    cluster.wait_until_whole();
    cluster.wait_until("a life without another node", || {
        cluster.said(1).contains("taken into the cluster")
    });
    std::thread::sleep(Duration::from_secs(3));
    cluster.kill(2);
    cluster.wait_until_whole();
    let mut client = cluster.client(1);
    for number in 0..300 {
        let got = call(&mut client, &format!("GET key:{number}"));
        assert_eq!(got, bulk(&number.to_string()), "key:{number}");
    }
}

/// A node that is told to take over leads every group then, and no request fails by it.
#[test]
fn a_node_takes_over_when_it_is_told_to() {
    let mut cluster = Cluster::start();
    write_keys(&cluster);
    let mut client = cluster.client(2);
    for (line, code) in [
        ("CLUSTER FAILOVER FORCE", "ERR CLUSTER FAILOVER FORCE is not there"),
        ("CLUSTER FAILOVER TAKEOVER", "ERR CLUSTER FAILOVER TAKEOVER is not there"),
        ("CLUSTER FAILOVER NONSENSE", "ERR syntax error"),
    ] {
        assert!(is_error(&call(&mut client, line), code), "{line}");
    }
    assert!(led_by(&cluster, 2) < 16_384, "others lead, too");
    assert_eq!(call(&mut client, "CLUSTER FAILOVER"), simple("OK"));
    cluster.wait_until("all groups with one node", || {
        let reply = cluster.client(1).call(&["INCR", "count"]).expect("a reply");
        assert!(matches!(reply, Value::Int(_)), "{reply:?}");
        led_by(&cluster, 2) == 16_384
    });
    assert!(cluster.said(2).contains("CLUSTER FAILOVER: the leaders of"), "{}", cluster.said(2));
    // Another one takes it all from there, and the first may go.
    assert_eq!(call(&mut cluster.client(0), "CLUSTER FAILOVER"), simple("OK"));
    cluster.wait_until("all groups with another node", || led_by(&cluster, 0) == 16_384);
    cluster.kill(2);
    cluster.wait_until_whole();
    assert_eq!(call(&mut cluster.client(1), "GET key:7"), bulk("7"));
}

/// Slots that a node leads, as another one sees it.
fn led_by(cluster: &Cluster, at: usize) -> i64 {
    let nodes = text(cluster.client(1).call(&["CLUSTER", "NODES"]).ok());
    let line = nodes.lines().find(|line| line.contains(&format!(",node-{at} "))).expect("a line");
    let slots = line.split(' ').skip(8).map(|range| match range.split_once('-') {
        Some((first, last)) => {
            last.parse::<i64>().expect("a slot") - first.parse::<i64>().expect("a slot") + 1
        }
        None => 1,
    });
    slots.sum()
}

#[test]
fn a_list_of_peers_that_makes_no_cluster_is_refused_in_one_line() {
    let two = "b:127.0.0.1:7002,c:127.0.0.1:7003";
    let cases: &[(&[&str], &str)] = &[
        (&["--peers", "b:127.0.0.1:7002"], "two others"),
        (&["--node", "b", "--peers", two], "which is this node"),
        (&["--peers", "b:127.0.0.1:7002@0,c:127.0.0.1:7003"], "/redirect"),
        (&["--peers", "b c:127.0.0.1:7002,c:127.0.0.1:7003"], "has spaces"),
        (&["--peers", "b:127.0.0.1:7002,c:127.0.0.1:7002"], "one address"),
        (&["--peers", "b:192.0.2.1:7002,c:192.0.2.2:7003"], "cluster-secret-file"),
        (&["--peers", "b:127.0.0.1:60000,c:127.0.0.1:7003"], "65535"),
        (&["--peers", two, "--appendonly", "no"], "appendonly"),
        (&["--peers", two, "--appendfsync", "everysec"], "appendfsync"),
        (&["--peers", two, "--cluster-secret-file", "nowhere"], "nowhere"),
        (&["--peers", two, "--bind", "0.0.0.0"], "without a secret"),
    ];
    for (flags, wanted) in cases {
        let home = tempfile::tempdir().expect("a directory");
        let output = Command::new(env!("CARGO_BIN_EXE_dse-server"))
            .args(["--port", "7001", "--node", "a"])
            .arg("--dir")
            .arg(home.path())
            .args(*flags)
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{flags:?} was accepted");
        assert_eq!(said.trim_end().lines().count(), 1, "{flags:?}: {said}");
        assert!(said.contains(wanted), "{flags:?}: {said}");
    }
}
