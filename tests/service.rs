//! How the server behaves towards clients that send nonsense, leave, wait or never read, and
//! what its command line refuses. Each test is named after what a user saw go wrong in an
//! earlier design.

mod common;

use common::random::Random;
use common::server::Server;
use common::value::Value;
use common::wire::{Client, WireError, encode};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine; no test asserts on elapsed time.
const PATIENCE: Duration = Duration::from_secs(60);

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_dse-server"))
}

fn server(flags: &[&str]) -> Server {
    let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
    Server::dse(program(), &flags).expect("the server starts")
}

fn simple(text: &str) -> Value {
    Value::Simple(text.into())
}

/// Tries until `ready`, or the test's patience is over.
fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < until, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn refused_start(flags: &[&str]) -> Output {
    let output = Command::new(program()).args(flags).output().expect("the program runs");
    assert!(!output.status.success(), "{flags:?} was accepted");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.trim_end().lines().count(), 1, "one clear line for {flags:?}, not: {text}");
    assert!(!text.contains("panicked"), "{text}");
    output
}

#[test]
fn hostile_requests_get_an_error_and_harm_nobody_else() {
    let server = server(&[]);
    let mut bystander = server.client();
    let hostile: &[&[u8]] = &[
        b"*abc\r\n",
        b"*99999999999\r\n",
        b"*1\r\n$abc\r\n",
        b"*1\r\n$99999999999\r\n",
        b"*2\r\n$3\r\nGET\r\n$-5\r\n",
        b"*2\r\n$3\r\nGET\r\n:5\r\n",
    ];
    for bytes in hostile {
        let mut client = server.client();
        client.send(bytes);
        let reply = client.read();
        assert!(
            matches!(&reply, Ok(Value::Error(text)) if text.starts_with(b"ERR Protocol error")),
            "{} was answered {reply:?}",
            bytes.escape_ascii()
        );
        assert_eq!(client.read(), Err(WireError::Closed), "{}", bytes.escape_ascii());
        assert_eq!(bystander.call(&["PING"]), Ok(simple("PONG")));
    }
}

#[test]
fn requests_that_ask_for_nothing_are_passed_over() {
    let server = server(&[]);
    let mut client = server.client();
    client.send(b"*0\r\n*-1\r\n\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(client.read(), Ok(simple("PONG")));
}

#[test]
fn a_request_without_an_end_waits_and_then_works() {
    let server = server(&[]);
    let mut client = server.client();
    client.send(b"*");
    let mut other = server.client();
    assert_eq!(other.call(&["PING"]), Ok(simple("PONG")));
    client.send(b"1\r\n$4\r\nPING\r\n");
    assert_eq!(client.read(), Ok(simple("PONG")));
}

#[test]
fn a_value_larger_than_every_buffer_comes_back_whole_however_it_is_cut() {
    let server = server(&[]);
    let mut client = server.client();
    for len in [16 * 1024, 32 * 1024, 32 * 1024 + 1, 65_536, 1_000_003, 20_000_000] {
        let value: Vec<u8> = (0..len).map(|at: usize| (at % 251) as u8).collect();
        let request = encode(&[&b"SET"[..], b"big", &value]);
        for piece in request.chunks(len / 3 + 7) {
            client.send(piece);
        }
        assert_eq!(client.read(), Ok(simple("OK")), "{len}");
        assert_eq!(client.call(&["GET", "big"]), Ok(Value::Bulk(value.clone())), "{len}");
        assert_eq!(client.call(&["STRLEN", "big"]), Ok(Value::Int(len as i64)), "{len}");
    }
}

#[test]
fn a_bulk_cut_at_every_byte_is_put_together() {
    let server = server(&[]);
    let mut client = server.client();
    let request = encode(&["SET", "key", "value"]);
    for cut in 1..request.len() {
        client.send(&request[..cut]);
        std::thread::sleep(Duration::from_millis(1));
        client.send(&request[cut..]);
        assert_eq!(client.read(), Ok(simple("OK")), "cut at {cut}");
    }
}

#[test]
fn pipelines_that_are_cut_anywhere_store_what_was_sent() {
    let server = server(&[]);
    let mut client = server.client();
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for round in 0..20 {
        let values: Vec<Vec<u8>> = (0..60)
            .map(|at| {
                let len = *random.pick(&[3, 900, 16_384, 20_000, 32_768, 40_000]);
                (0..len + random.below(40)).map(|byte| (byte * 7 + at + round) as u8).collect()
            })
            .collect();
        let mut sent = Vec::new();
        for (at, value) in values.iter().enumerate() {
            sent.extend(encode(&[&b"SET"[..], format!("key-{at}").as_bytes(), value]));
        }
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let most = *random.pick(&[40, 5_000, 70_000, 300_000]);
            let (piece, after) = rest.split_at((1 + random.below(most)).min(rest.len()));
            client.send(piece);
            rest = after;
        }
        for at in 0..values.len() {
            assert_eq!(client.read(), Ok(simple("OK")), "seed {seed}, round {round}, {at}");
        }
        for at in 0..values.len() {
            client.send(&encode(&["GET", &format!("key-{at}")]));
        }
        for (at, value) in values.iter().enumerate() {
            let got = client.read();
            assert!(got == Ok(Value::Bulk(value.clone())), "seed {seed}, round {round}, {at}");
        }
    }
}

#[test]
fn pipelined_replies_come_in_order_whatever_the_workers_do() {
    let server = server(&["--threads", "4"]);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let mut connection = server.client();
                for round in 0..20 {
                    let tokens: Vec<String> =
                        (0..500).map(|at| format!("{client}-{round}-{at}")).collect();
                    let pipeline: Vec<u8> =
                        tokens.iter().flat_map(|token| encode(&["ECHO", token])).collect();
                    connection.send(&pipeline);
                    for token in tokens {
                        assert_eq!(connection.read(), Ok(Value::bulk(token)));
                    }
                }
            });
        }
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_request_harms_nobody() {
    let server = server(&[]);
    for _ in 0..50 {
        let mut client = server.client();
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\npart of it");
        drop(client);
        let mut client = server.client();
        client.send(&encode(&["GET", "k"]).repeat(1000));
        drop(client); // Replies are under way: the write must not end the process.
    }
    assert_eq!(server.client().call(&["PING"]), Ok(simple("PONG")));
}

#[test]
fn a_client_that_closes_its_sending_side_gets_its_reply() {
    let server = server(&[]);
    let mut client = server.client();
    client.send(b"PING\r\n");
    client.finish_sending();
    assert_eq!(client.read(), Ok(simple("PONG")));
    assert_eq!(client.read(), Err(WireError::Closed));
}

#[test]
fn a_new_client_never_gets_the_replies_of_one_that_left() {
    let server = server(&[]);
    let mut publisher = server.client();
    for round in 0..200 {
        let mut leaver = server.client();
        leaver.send(&encode(&["SUBSCRIBE", "news"]));
        leaver.send(&encode(&["ECHO", "for the one that left"]).repeat(50));
        drop(leaver);
        let token = format!("round {round}");
        let mut successor = server.client();
        publisher.send(&encode(&["PUBLISH", "news", "for subscribers"]));
        assert_eq!(successor.call(&["ECHO", &token]), Ok(Value::bulk(token)));
        assert!(matches!(publisher.read(), Ok(Value::Int(_))));
    }
}

#[test]
fn too_many_clients_are_told_so_and_places_come_free_by_themselves() {
    let server = server(&["--maxclients", "10"]);
    let mut clients: Vec<Client> = Vec::new();
    wait_until("the look of the start-up probe is over", || {
        clients.clear();
        clients.extend((0..10).map(|_| server.client()));
        clients.iter_mut().all(|client| client.call(&["PING"]) == Ok(simple("PONG")))
    });
    let mut refused = server.client();
    assert_eq!(refused.read(), Ok(Value::Error("ERR max number of clients reached".into())));
    assert_eq!(refused.read(), Err(WireError::Closed));
    clients.pop();
    wait_until("a place is free", || server.client().call(&["PING"]) == Ok(simple("PONG")));
}

#[test]
fn newcomers_wait_without_a_spin_while_no_descriptor_is_free() {
    let server = server(&[]);
    let mut first = server.client();
    assert_eq!(first.call(&["PING"]), Ok(simple("PONG")));
    // Numbers that others gave back are taken up until there is none between those in use.
    let mut fillers = Vec::new();
    wait_until("every number below the highest is taken", || {
        fillers.push(server.client());
        assert_eq!(fillers.last_mut().expect("one").call(&["PING"]), Ok(simple("PONG")));
        let open = descriptors(&server);
        open.len() == open.iter().max().expect("some are open") + 1
    });
    let limit = format!("--nofile={}:", descriptors(&server).len());
    let process = server.process_id().to_string();
    let lowered = Command::new("prlimit").args(["--pid", &process, &limit]).status();
    assert!(lowered.expect("prlimit runs; it is in util-linux").success());

    let mut newcomer = server.client();
    newcomer.send(b"PING\r\n");
    let before = processor_ticks(&server);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(20));
        let Ok(Value::Bulk(list)) = first.call(&["CLIENT", "LIST"]) else { panic!("a list") };
        let clients = list.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(clients, fillers.len() + 1, "the newcomer waits, the others are served");
    }
    let spent = processor_ticks(&server) - before;
    assert!(spent < 12, "{spent} ticks of 10 ms spent on waiting for 400 ms");
    drop(fillers);
    assert_eq!(newcomer.read(), Ok(simple("PONG")), "accepted as soon as some have left");
}

/// The descriptors that the server has open.
fn descriptors(server: &Server) -> Vec<usize> {
    let listed = std::fs::read_dir(format!("/proc/{}/fd", server.process_id()));
    let names = listed.expect("the server runs").map(|entry| entry.expect("a name").file_name());
    names.map(|name| name.to_string_lossy().parse().expect("a number")).collect()
}

/// Processor time that the server has used.
fn processor_ticks(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.process_id()));
    let stat = stat.expect("the server runs");
    let fields = stat.rsplit(')').next().expect("fields behind the name").split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

#[test]
fn replies_that_nobody_reads_stop_the_reading() {
    let server = server(&[]);
    let mut client = server.client();
    let value = vec![b'x'; 10_000];
    assert_eq!(client.call(&[&b"SET"[..], b"k", &value]), Ok(simple("OK")));
    let before = resident_bytes(&server);
    let mut greedy = TcpStream::connect(server.address).expect("accepted");
    greedy.set_nonblocking(true).expect("a socket can be made non-blocking");
    // 17 MB of requests, whose replies would be 7.9 GB.
    let pipeline = encode(&["GET", "k"]).repeat(1000);
    let mut sent = 0;
    let mut stalled = 0;
    while sent < 17_000_000 && stalled < 50 {
        match greedy.write(&pipeline) {
            Ok(bytes) => sent += bytes,
            Err(_) => {
                stalled += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    let grown = resident_bytes(&server).saturating_sub(before);
    assert!(grown < 32 << 20, "grew by {grown} bytes after {sent} bytes of requests");
    assert_eq!(client.call(&["PING"]), Ok(simple("PONG")), "others are served meanwhile");
    let mut buffer = vec![0; 1 << 20];
    let mut received = 0;
    wait_until("the replies arrive once they are read", || {
        received += greedy.read(&mut buffer).unwrap_or(0);
        received > 50_000_000
    });
}

fn resident_bytes(server: &Server) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", server.process_id()));
    let statm = statm.expect("the server runs");
    let pages: usize =
        statm.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a number");
    pages * 4096
}

#[test]
fn an_announced_length_costs_nothing() {
    let server = server(&[]);
    let before = resident_bytes(&server);
    let mut clients: Vec<Client> = (0..50).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nonly these bytes");
    }
    assert_eq!(server.client().call(&["PING"]), Ok(simple("PONG")));
    let grown = resident_bytes(&server).saturating_sub(before);
    assert!(grown < 32 << 20, "50 announcements of 500 MB took {grown} bytes");
}

#[test]
fn an_unfinished_request_over_its_limit_is_the_end_of_its_client() {
    let server = server(&["--client-query-buffer-limit", "1mb"]);
    let value = vec![b'v'; 200_000];
    let small = vec![b'v'; 20_000];
    // One argument, several that are received apart, and many that are not.
    let requests: [(usize, Vec<u8>); 3] =
        [(1, vec![b'v'; 3_000_000]), (10, value.clone()), (100, small)];
    for (count, argument) in requests {
        let mut client = server.client();
        let mut arguments: Vec<&[u8]> = vec![b"DEL"];
        arguments.extend((0..count).map(|_| argument.as_slice()));
        client.send(&encode(&arguments));
        assert_eq!(client.read(), Err(WireError::Closed), "{count} of {}", argument.len());
    }
    let mut client = server.client();
    for _ in 0..20 {
        let set = [&b"MSET"[..], b"a", &value, b"b", &value, b"c", &value];
        assert_eq!(client.call(&set), Ok(simple("OK")), "each of the requests is below it");
    }
    let set = ["CONFIG", "SET", "client-query-buffer-limit", "4mb"];
    assert_eq!(client.call(&set), Ok(simple("OK")));
    let large = vec![b'v'; 3_000_000];
    assert_eq!(client.call(&[&b"SET"[..], b"k", &large]), Ok(simple("OK")));
    let low = ["CONFIG", "SET", "client-query-buffer-limit", "1"];
    assert!(matches!(client.call(&low), Ok(Value::Error(_))), "1 MB is the least");
}

#[test]
fn a_subscriber_that_does_not_read_is_dropped() {
    let server = server(&["--client-output-buffer-limit", "pubsub", "1mb", "0", "0"]);
    let mut subscriber = server.client();
    subscriber.call(&["SUBSCRIBE", "news"]).expect("subscribed");
    let mut publisher = server.client();
    let message = vec![b'm'; 100_000];
    wait_until("the subscriber is dropped", || {
        publisher.call(&[&b"PUBLISH"[..], b"news", &message]) == Ok(Value::Int(0))
    });
}

#[test]
fn an_idle_client_is_closed_and_a_subscriber_is_not() {
    let server = server(&["--timeout", "1"]);
    let mut subscriber = server.client();
    subscriber.call(&["SUBSCRIBE", "news"]).expect("subscribed");
    let mut idle = server.client();
    assert_eq!(idle.call(&["PING"]), Ok(simple("PONG")));
    assert_eq!(idle.read(), Err(WireError::Closed));
    let mut publisher = server.client();
    assert_eq!(publisher.call(&["PUBLISH", "news", "m"]), Ok(Value::Int(1)));
}

#[test]
fn expired_keys_are_not_counted_and_are_freed() {
    let server = server(&[]);
    let mut client = server.client();
    let pipeline: Vec<u8> =
        (0..20_000).flat_map(|at| encode(&["SET", &format!("k{at}"), "v", "PX", "50"])).collect();
    client.send(&pipeline);
    for _ in 0..20_000 {
        assert_eq!(client.read(), Ok(simple("OK")));
    }
    wait_until("all keys are gone without a look at any of them", || {
        client.call(&["DBSIZE"]) == Ok(Value::Int(0))
    });
}

#[test]
fn keys_that_are_due_in_the_same_second_are_gone_with_their_memory() {
    const KEYS: usize = 100_000;
    // Every shard keeps its first segment of 4 KiB; the keys take 6 MB.
    const FIRST_SEGMENTS: u64 = 512 * 6 * 1024;
    let server = server(&[]);
    let mut client = server.client();
    let used = |client: &mut Client| {
        let Ok(Value::Bulk(info)) = client.call(&["INFO", "memory"]) else { panic!("a text") };
        let info = String::from_utf8_lossy(&info).into_owned();
        let field = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        field.and_then(|text| text.parse::<u64>().ok()).expect("a number")
    };
    let before = used(&mut client);
    let due = std::time::SystemTime::now() + Duration::from_secs(3);
    let due = due.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let due = due.to_string();
    for block in 0..KEYS / 1000 {
        let keys = block * 1000..(block + 1) * 1000;
        let set = |key: usize| encode(&["SET", &format!("key:{key}"), "value", "PXAT", &due]);
        client.send(&keys.clone().flat_map(set).collect::<Vec<u8>>());
        assert!(keys.into_iter().all(|_| client.read() == Ok(simple("OK"))));
    }
    // Someone who goes on working meanwhile is always answered.
    wait_until("all are gone, and so is what they took", || {
        assert_eq!(client.call(&["SET", "other", "1"]), Ok(simple("OK")));
        client.call(&["DBSIZE"]) == Ok(Value::Int(1)) && used(&mut client) < before + FIRST_SEGMENTS
    });
    assert_eq!(client.call(&["GET", "other"]), Ok(Value::bulk("1")));
}

#[test]
fn counters_refuse_what_is_no_number_and_start_anew_when_expired() {
    let server = server(&[]);
    let mut client = server.client();
    client.call(&["SET", "word", "abc"]).expect("stored");
    let no_number = "ERR value is not an integer or out of range";
    assert_eq!(client.call(&["INCR", "word"]), Ok(Value::Error(no_number.into())));
    client.call(&["SET", "top", "9223372036854775807"]).expect("stored");
    let overflow = "ERR increment or decrement would overflow";
    assert_eq!(client.call(&["INCR", "top"]), Ok(Value::Error(overflow.into())));
    client.call(&["SET", "old", "41", "PX", "1"]).expect("stored");
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(client.call(&["INCR", "old"]), Ok(Value::Int(1)));
}

#[test]
fn nonsense_on_the_command_line_is_refused_in_one_line() {
    for flags in [
        &["--port", "70000"][..],
        &["--port", "-1"],
        &["--port", "word"],
        &["--threads", "0"],
        &["--threads", "-1"],
        &["--threads", "many"],
        &["--bind", "no.such.host.invalid"],
        &["--maxclient", "5"],
        &["--no-such-flag"],
    ] {
        refused_start(flags);
    }
    let text = String::from_utf8_lossy(&refused_start(&["--maxclient", "5"]).stderr).into_owned();
    assert!(text.contains("maxclients"), "names the nearest flag: {text}");
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let server = server(&[]);
    let port = server.address.port().to_string();
    let output = refused_start(&["--port", &port]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(&port) && text.contains("in use"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

/// A port that nobody listens on at this moment.
fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("a bound socket").port()
}

fn is_refused(address: &str) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn the_port_can_be_changed_and_the_old_one_is_closed() {
    let server = server(&[]);
    let mut client = server.client();
    let port = free_port().to_string();
    assert_eq!(client.call(&["CONFIG", "SET", "port", &port]), Ok(simple("OK")));
    let new: std::net::SocketAddr = format!("127.0.0.1:{port}").parse().expect("an address");
    let mut newcomer = Client::connect(new).expect("the new port is open");
    assert_eq!(newcomer.call(&["PING"]), Ok(simple("PONG")));
    assert!(is_refused(&server.address.to_string()), "the old port is closed");
    assert_eq!(client.call(&["PING"]), Ok(simple("PONG")), "who was connected stays so");
    // And back, several times: worker 0 accepts all the while.
    let old = server.address.port().to_string();
    for _ in 0..20 {
        for (port, address) in [(&old, server.address), (&port, new)] {
            assert_eq!(client.call(&["CONFIG", "SET", "port", port]), Ok(simple("OK")));
            let mut newcomer = Client::connect(address).expect("the port is open");
            assert_eq!(newcomer.call(&["PING"]), Ok(simple("PONG")));
        }
    }
    assert_eq!(client.call(&["CONFIG", "SET", "port", "0"]), Ok(simple("OK")));
    assert!(is_refused(&new.to_string()), "0 turns TCP off");
    assert_eq!(client.call(&["CONFIG", "SET", "port", &old]), Ok(simple("OK")));
    assert_eq!(server.client().call(&["PING"]), Ok(simple("PONG")));
}

#[test]
fn a_port_that_is_taken_changes_nothing() {
    let server = server(&[]);
    let mut client = server.client();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("a bound socket").port().to_string();
    let error = "ERR CONFIG SET failed (possibly related to argument 'port') - \
                 Unable to listen on this port. Check server logs.";
    let set = ["CONFIG", "SET", "maxmemory", "10000001", "port", &port, "timeout", "77"];
    assert_eq!(client.call(&set), Ok(Value::Error(error.into())));
    let old = server.address.port().to_string();
    for (name, value) in [("maxmemory", "0"), ("port", old.as_str()), ("timeout", "0")] {
        let expected = Value::Array(vec![Value::bulk(name), Value::bulk(value)]);
        assert_eq!(client.call(&["CONFIG", "GET", name]), Ok(expected));
    }
    assert_eq!(server.client().call(&["PING"]), Ok(simple("PONG")), "still reached there");
}

#[test]
fn addresses_can_be_exchanged_for_all_and_back() {
    let server = server(&[]);
    let mut client = server.client();
    let other = format!("127.0.0.2:{}", server.address.port());
    assert!(is_refused(&other));
    // One of all addresses cannot be had beside all: the one goes first.
    assert_eq!(client.call(&["CONFIG", "SET", "bind", "* -::*"]), Ok(simple("OK")));
    assert!(!is_refused(&other));
    assert_eq!(server.client().call(&["PING"]), Ok(simple("PONG")));
    assert_eq!(client.call(&["CONFIG", "SET", "bind", "127.0.0.1"]), Ok(simple("OK")));
    assert!(is_refused(&other));
    assert_eq!(server.client().call(&["PING"]), Ok(simple("PONG")));
    let error = "ERR CONFIG SET failed (possibly related to argument 'bind') - \
                 Failed to bind to specified addresses.";
    for nowhere in ["192.0.2.1", "999.999.999.999", "127.0.0.1 192.0.2.1"] {
        let set = ["CONFIG", "SET", "bind", nowhere];
        assert_eq!(client.call(&set), Ok(Value::Error(error.into())), "{nowhere}");
        assert_eq!(server.client().call(&["PING"]), Ok(simple("PONG")), "{nowhere}");
    }
}

#[test]
fn sigterm_ends_the_server_in_order() {
    let mut server = server(&[]);
    let mut client = server.client();
    assert_eq!(client.call(&["PING"]), Ok(simple("PONG")));
    let killed = Command::new("kill").arg(server.process_id().to_string()).status();
    assert!(killed.expect("kill runs").success());
    wait_until("the server has ended", || !server.is_running());
    assert_eq!(client.read(), Err(WireError::Closed));
}

#[test]
fn more_threads_than_processors_still_serve() {
    let server = server(&["--threads", "16"]);
    std::thread::scope(|scope| {
        for number in 0..32 {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.client();
                for _ in 0..100 {
                    assert!(matches!(client.call(&["INCR", "n"]), Ok(Value::Int(_))), "{number}");
                }
            });
        }
    });
    assert_eq!(server.client().call(&["GET", "n"]), Ok(Value::bulk("3200")));
}
