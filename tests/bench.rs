//! The program dse-bench, used as people use it: against a real server and against fake ones
//! that are slow, wrong or silent.
//!
//! Nothing here is asserted about how fast anything is.

mod common;

use common::server::Server;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Runs dse-bench with these words, and returns its exit code and what it printed.
fn bench(line: &str) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dse-bench"))
        .args(line.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect("the program was built");
    let Output { status, stdout, stderr } = output;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// As [`bench`], for runs that must go well.
fn good(line: &str) -> String {
    let (code, out, error) = bench(line);
    assert_eq!(code, 0, "{line}\n{out}\n{error}");
    out
}

fn dse() -> Server {
    let program = Path::new(env!("CARGO_BIN_EXE_dse-server"));
    Server::dse(program, &[]).expect("the server starts")
}

fn port(server: &Server) -> u16 {
    server.address.port()
}

/// A server that answers each request with what `answer` says to its words, on as many
/// connections as come. It lives as long as the test's process.
fn fake(answer: impl Fn(&[String]) -> String + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a bound socket").port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || serve(stream, answer.as_ref()));
        }
    });
    port
}

/// A client that goes away ends its thread.
fn serve(stream: TcpStream, answer: &dyn Fn(&[String]) -> String) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let words = read_request(&mut reader)?;
        writer.write_all(answer(&words).as_bytes()).ok()?;
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let mut line = String::new();
    let mut next = |reader: &mut dyn BufRead| -> Option<usize> {
        line.clear();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        line.trim_end().get(1..)?.parse().ok()
    };
    let count = next(reader)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let len = next(reader)?;
        let mut word = vec![0; len + 2];
        reader.read_exact(&mut word).ok()?;
        word.truncate(len);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(words)
}

/// What a well-behaved server would say to the little that fakes are asked.
fn polite(words: &[String]) -> String {
    match words[0].as_str() {
        "PING" => "+PONG\r\n".into(),
        "GET" => "$3\r\nxxx\r\n".into(),
        "INFO" => "$0\r\n\r\n".into(),
        _ => "+OK\r\n".into(),
    }
}

#[test]
fn mistakes_on_the_command_line_exit_with_2() {
    for (line, said) in [
        ("-t get,gte", "no test \"gte\""),
        ("--no-such-flag", "--no-such-flag"),
        ("-p 99999", "99999"),
        ("--compare nonsense", "HOST:PORT=NAME"),
        ("-c 0 -t get", "from 1 to"),
        ("report", "FILE"),
        ("report no-such-file --html x", "no-such-file"),
    ] {
        let (code, _, error) = bench(line);
        assert!(error.contains(said), "{line}: {error}");
        assert_ne!(code, 0, "{line}");
    }
    assert_eq!(bench("-t gte").0, 2);
    assert!(good("--help").contains("--verify"));
    assert!(good("--version").contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn ping_says_in_one_line_whether_a_server_answers() {
    let server = dse();
    let out = good(&format!("ping -p {}", port(&server)));
    assert_eq!(out.lines().count(), 1);
    assert!(out.starts_with(&format!("{}: PONG in ", server.address)), "{out}");
    let address = server.address;
    drop(server);
    let (code, out, error) = bench(&format!("ping -p {}", address.port()));
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(error.lines().count(), 1);
    assert!(error.contains("could not connect"), "{error}");
}

#[test]
fn every_test_of_the_suite_runs_without_an_error() {
    let server = dse();
    let out = good(&format!("-p {} -n 300 -c 5 -P 4 -r 50 -q", port(&server)));
    let names: Vec<&str> = out.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(names.len(), 20, "{out}");
    assert_eq!(names[2..5], ["SET", "GET", "INCR"]);
    assert!(out.lines().all(|line| line.contains(" requests per second, p50=")), "{out}");
}

#[test]
fn exactly_as_many_requests_are_sent_as_asked_for() {
    let server = dse();
    let line = format!("-p {} -n 1001 -c 7 -P 3 --threads 2 -q INCR counter", port(&server));
    good(&line);
    let count = server.client().call(&["GET", "counter"]).expect("a reply");
    assert_eq!(format!("{count:?}"), format!("{:?}", common::value::Value::Bulk(b"1001".to_vec())));
}

#[test]
fn csv_begins_with_the_columns_of_redis_benchmark() {
    let server = dse();
    let out = good(&format!("-p {} -t set,get -n 100 --csv -d 64 -r 10", port(&server)));
    let mut lines = out.lines();
    let head = lines.next().expect("a header");
    let known = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\
                 \"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"";
    assert!(head.starts_with(known), "{head}");
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0][0], rows[1][0]), ("\"SET\"", "\"GET\""));
    assert!(rows.iter().all(|row| row.len() == head.split(',').count()), "{out}");
}

#[test]
fn json_html_and_percentiles_are_written() {
    let server = dse();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str| directory.path().join(name).display().to_string();
    good(&format!(
        "-p {} -t get -n 2000 -q --json {} --html {} --hgrm {} --sweep clients=1,8",
        port(&server),
        file("a.json"),
        file("a.html"),
        file("hgrm")
    ));
    let text = std::fs::read_to_string(file("a.json")).expect("it was written");
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(json["version"], 1);
    assert_eq!(json["servers"][0]["pids"][0], server.process_id());
    let clients: Vec<&serde_json::Value> =
        json["cells"].as_array().expect("cells").iter().map(|c| &c["shape"]["clients"]).collect();
    assert_eq!(clients, [1, 8]);
    let run = &json["cells"][0]["results"][0]["runs"][0];
    assert!(run["server_cpu_ns"].as_f64().is_some_and(|ns| ns > 0.0), "{run}");
    assert!(run["latency"]["p99_99"].as_f64() >= run["latency"]["p50"].as_f64(), "{run}");
    let page = std::fs::read_to_string(file("a.html")).expect("it was written");
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme"));
    let percentiles = std::fs::read_dir(file("hgrm")).expect("a directory").count();
    assert_eq!(percentiles, 2);

    good(&format!("report {0} {0} --json {1}", file("a.json"), file("b.json")));
    let text = std::fs::read_to_string(file("b.json")).expect("it was written");
    let joined: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(joined["cells"].as_array().map(Vec::len), Some(4));
    assert_eq!(joined["servers"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_a_real_server_answers_is_right() {
    let server = dse();
    for load in ["--ratio 1:2", "-t incr", "-t ping", "-t get", "--zipf --ratio 1:1 -3"] {
        let line = "-n 5000 -c 9 -P 7 -r 40 -d 50 --threads 2 --verify -q";
        good(&format!("-p {} {line} {load}", port(&server)));
    }
    // What is too long for one receive, or one send, is checked as well.
    good(&format!("-p {} -n 60 -c 2 -P 8 -r 4 -d 300000 --verify -q", port(&server)));
}

#[test]
fn a_planted_wrong_reply_is_found() {
    // One read in a hundred gives the value of the write before the last.
    let reads = AtomicU64::new(0);
    let values = std::sync::Mutex::new(std::collections::HashMap::new());
    let port = fake(move |words| {
        let mut values = values.lock().expect("no thread has panicked");
        let (new, old) = match words[0].as_str() {
            "SET" => {
                let entry: &mut (String, String) = values.entry(words[1].clone()).or_default();
                entry.1 = std::mem::replace(&mut entry.0, words[2].clone());
                return "+OK\r\n".into();
            }
            "GET" => values.get(&words[1]).cloned().unwrap_or_default(),
            _ => return polite(words),
        };
        let stale = reads.fetch_add(1, Ordering::Relaxed) % 100 == 99 && !old.is_empty();
        let value = if stale { old } else { new };
        format!("${}\r\n{value}\r\n", value.len())
    });
    let line = format!("-p {port} -n 4000 -c 3 -r 12 -d 20 --ratio 1:1 -q");
    let (code, out, error) = bench(&format!("{line} --verify"));
    assert_eq!(code, 1, "{out}{error}");
    assert!(error.contains("0 errors") && error.contains("wrong replies"), "{error}");
    assert!(error.contains("expected Value"), "{error}");
    assert_eq!(bench(&line).0, 0, "without --verify nobody looks");
}

#[test]
fn errors_are_counted_and_told() {
    let port = fake(|words| match words[0].as_str() {
        "GET" => "-MISCONF no\r\n".into(),
        _ => polite(words),
    });
    let (code, _, error) = bench(&format!("-p {port} -t get -n 10 -c 2 -q"));
    assert_eq!(code, 1);
    assert!(error.contains("10 errors") && error.contains("MISCONF no"), "{error}");
}

#[test]
fn what_is_no_reply_ends_the_run() {
    let port = fake(|words| match words[0].as_str() {
        "GET" => "hello\r\n".into(),
        _ => polite(words),
    });
    let (code, _, error) = bench(&format!("-p {port} -t get -n 10 -c 2 -q"));
    assert_eq!(code, 1);
    assert!(error.contains("no reply"), "{error}");
    let port = fake(|words| match words[0].as_str() {
        "GET" => "+OK\r\n+OK\r\n".into(),
        _ => polite(words),
    });
    let (code, _, error) = bench(&format!("-p {port} -t get -n 10 -c 1 -q"));
    assert!(code == 1 && error.contains("nobody asked"), "{error}");
}

#[test]
fn a_silent_server_is_given_up() {
    let port = fake(|words| match words[0].as_str() {
        "GET" => String::new(),
        _ => polite(words),
    });
    let (code, _, error) = bench(&format!("-p {port} -t get -n 10 -c 2 -q --silence 1"));
    assert_eq!(code, 1);
    assert!(error.contains("has not answered for 1 s"), "{error}");
}

/// Median and longest latency, and the requests, of the only run in a document.
fn latencies(out: &str) -> (f64, f64, u64) {
    // With `-q` a line of text comes first.
    let json = &out[out.find('{').expect("an object")..];
    let json: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
    let run = &json["cells"][0]["results"][0]["runs"][0];
    let us = |name: &str| run["latency"][name].as_f64().expect("a number");
    (us("p50"), us("max"), run["requests"].as_u64().expect("a number"))
}

/// A server that takes `pause` for its `number`th GET.
fn stumbling(number: u64, pause: Duration) -> u16 {
    let gets = AtomicU64::new(0);
    fake(move |words| {
        if words[0] == "GET" && gets.fetch_add(1, Ordering::Relaxed) == number {
            thread::sleep(pause);
        }
        polite(words)
    })
}

#[test]
fn with_a_rate_latency_counts_from_the_intended_time() {
    let pause = Duration::from_millis(600);
    let fast = "-t get -n 400 -c 1 -q --json -";
    // As fast as possible: one request waits for the pause, the others come after it.
    let closed = latencies(&good(&format!("-p {} {fast}", stumbling(100, pause))));
    assert!(closed.1 >= 600_000.0, "one waited for all of it: {closed:?}");
    assert!(closed.0 < 300_000.0, "most did not: {closed:?}");
    // At 500 a second three hundred requests are due within the pause; each of them is late by
    // what was left of it, so that the median shows what users would have felt.
    let open = latencies(&good(&format!("-p {} {fast} --rate 500", stumbling(100, pause))));
    assert_eq!(open.2, 400);
    assert!(open.1 >= 600_000.0, "{open:?}");
    assert!(open.0 >= 50_000.0, "those that could not be sent in time count as late: {open:?}");
    assert!(closed.0 < open.0, "{closed:?} {open:?}");
}

#[test]
fn servers_that_cannot_be_told_apart_are_not_ranked() {
    let (one, other) = (fake(polite), fake(polite));
    let line = format!("--compare :{one}=one,:{other}=other -t get -c 2 --time 0.05");
    let out = good(&format!("{line} --rounds 2"));
    assert!(out.contains("other and one are not ranked"), "two rounds are too few: {out}");
    assert!(!out.contains("is ahead of") && !out.contains("is behind"), "{out}");
}

#[test]
fn a_server_that_is_slower_in_every_round_is_ranked() {
    let fast = fake(polite);
    let slow = fake(|words| {
        thread::sleep(Duration::from_millis(if words[0] == "GET" { 20 } else { 0 }));
        polite(words)
    });
    let line = format!("--compare :{fast}=fast,:{slow}=slow -t get -c 1 --time 0.3 --rounds 3");
    let out = good(&line);
    assert!(out.contains("throughput: slow is behind fast"), "{out}");
    assert!(out.contains("in 3 rounds"), "{out}");
}

#[test]
fn many_connections_check_their_answers() {
    let server = dse();
    let out = good(&format!("clients 200 -p {} --active 50 -n 1000", port(&server)));
    assert!(out.starts_with("200 connections, 50 active: 1000 answers checked, 0 wrong"), "{out}");
    assert!(out.contains("an idle connection costs"), "{out}");
    let (code, _, error) = bench("clients 90000 -p 1");
    assert!(code != 0 && !error.is_empty());
}

#[test]
fn bad_clients_make_no_answer_wrong() {
    let server = dse();
    let line = format!("clients 60 -p {} --active 20 -n 400 --rounds 1 --abuse", port(&server));
    let out = good(&line);
    let told = |what: &str| out.lines().filter(|line| line.contains(what)).count();
    assert_eq!(told("60 connections, 20 of them active"), 1, "{out}");
    assert_eq!(told("an idle connection costs"), 1, "{out}");
    assert_eq!(told("800 answers checked, 0 wrong, 0 errors: met"), 1, "{out}");
    assert_eq!(told("400 answers checked, 0 wrong, 0 errors: met"), 1, "{out}");
    assert_eq!(told("under 300 bad clients the server grew by"), 1, "{out}");
    assert_eq!(told("the longest wait was"), 1, "{out}");
}

#[test]
fn a_heavy_connection_is_set_beside_light_ones() {
    let server = dse();
    let out = good(&format!("clients 5 -p {} --time 0.2 --rounds 2 --heavy", port(&server)));
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.contains("p99 of the light ones "), "{out}");
    assert_eq!(bench("clients 5 --heavy --abuse").0, 2);
}

#[test]
fn memory_for_each_key_is_the_growth_of_the_server() {
    let server = dse();
    let out = good(&format!("memory -p {} --keys 20000 -d 64 --settle 0", port(&server)));
    let row = out.lines().nth(1).expect("a row");
    let fields: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(fields[1..3], ["20000", "64"], "{out}");
    assert_eq!(format!("{:?}", server.client().call(&["DBSIZE"])), "Ok(Int(20000))");
}

#[test]
fn a_password_a_database_and_a_unix_socket_are_used() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("socket").display().to_string();
    let flags = ["--requirepass", "secret", "--unixsocket", &socket].map(String::from);
    let program = Path::new(env!("CARGO_BIN_EXE_dse-server"));
    let server = Server::dse(program, &flags).expect("the server starts");
    let (code, _, error) = bench(&format!("-p {} -t get -n 10 -q", port(&server)));
    assert!(code == 1 && error.contains("NOAUTH"), "{error}");
    good(&format!("-s {socket} -a secret --dbnum 3 -n 10 -q SET k v"));
    let uri = format!("redis://:secret@127.0.0.1:{}/3", port(&server));
    good(&format!("-u {uri} -n 10 -q -k 0 -c 2 GET k"));
    let mut client = server.client();
    client.call(&["AUTH", "secret"]).expect("a reply");
    assert_eq!(format!("{:?}", client.call(&["DBSIZE"])), "Ok(Int(0))");
}

/// A cluster of one fake node that serves two ranges of slots and knows which keys are its own.
#[test]
fn keys_go_to_the_node_that_serves_them() {
    let addresses: Arc<std::sync::Mutex<Vec<u16>>> = Arc::default();
    let node = |first: u16, last: u16, shared: &Arc<std::sync::Mutex<Vec<u16>>>| {
        let shared = Arc::clone(shared);
        fake(move |words| {
            let ports = shared.lock().expect("no thread has panicked").clone();
            if words[0] == "CLUSTER" {
                let range = |a: u16, b: u16, port: u16| {
                    format!("*3\r\n:{a}\r\n:{b}\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n")
                };
                return format!(
                    "*2\r\n{}{}",
                    range(0, 8191, ports[0]),
                    range(8192, 16383, ports[1])
                );
            }
            let Some(key) = words.get(1).filter(|_| words[0] == "SET") else {
                return polite(words);
            };
            let slot = dse::util::crc16::hash_slot(key.as_bytes());
            let is_own = (first..=last).contains(&slot);
            if is_own { "+OK\r\n".into() } else { format!("-MOVED {slot} elsewhere\r\n") }
        })
    };
    let ports = [node(0, 8191, &addresses), node(8192, 16383, &addresses)];
    addresses.lock().expect("nobody has panicked").extend(ports);
    good(&format!("-p {} --cluster -t set -n 2000 -c 4 -P 3 -r 1000 -q", ports[0]));
    let (code, _, error) = bench(&format!("-p {} -t set -n 2000 -r 1000 -q", ports[0]));
    assert!(code == 1 && error.contains("MOVED"), "without --cluster half of them fail: {error}");
}

#[test]
fn the_floor_answers_as_many_as_were_asked() {
    let mut floor = start_floor();
    let address: SocketAddr = floor.1;
    for load in ["-t get,set,incr,ping -P 1", "-t get,set,mset -P 64 -d 1000", "-t set -d 100000"] {
        good(&format!("-p {} -n 2000 -c 5 -q -r 100 {load}", address.port()));
    }
    floor.0.kill().expect("it runs");
    floor.0.wait().expect("it was killed");
}

fn start_floor() -> (std::process::Child, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("a bound socket");
    drop(free);
    let child = Command::new(env!("CARGO_BIN_EXE_dse-bench"))
        .args(["floor", "-p", &address.port().to_string(), "-d", "64"])
        .spawn()
        .expect("the program was built");
    while TcpStream::connect(address).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
    (child, address)
}

#[test]
fn benches_in_process_give_figures() {
    let out = good("throughput --threads 2 --time 0.05 --batch 1,8 -q --json -");
    let figures: Vec<f64> = out.lines().take(2).filter_map(|line| line.parse().ok()).collect();
    assert!(figures.len() == 2 && figures.iter().all(|figure| *figure > 0.0), "{out}");
    let out = good("read-compare --threads 2 --time 0.02 --rounds 1 --keys 1000");
    assert!(out.contains("dse") && out.contains("one mutex"), "{out}");
    let (code, _, error) = bench("read-compare --only nothing --keys 1");
    assert!(code == 2 && error.contains("no map \"nothing\""), "{error}");
}
