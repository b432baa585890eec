//! Random commands against dse-server and redis-server at once; the replies must agree but for
//! what `common/differences.rs` allows.
//!
//! This is the bounded run. `cargo run --example oracle_compare -- --commands 100000` is the long
//! one. A difference is told with its seed and the shortest list of commands that shows it;
//! `ORACLE_SEED` and `ORACLE_COMMANDS` change the run.

mod common;

use common::differences::DIFFERENCES;
use common::oracle::{Plan, Report, Side, compare};
use common::server::{Server, redis_is_there};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

/// Commands in each protocol.
const COMMANDS: usize = 5000;
const SEED: u64 = 20_240_501;

#[test]
fn dse_answers_random_commands_as_redis_does() {
    let program = Path::new(env!("CARGO_BIN_EXE_dse-server"));
    with_redis(|redis| {
        let dse = Server::dse(program, &[]).expect("dse-server starts");
        let left = Side { name: "dse", address: dse.address };
        for protocol in [2, 3] {
            let seed = from_environment("ORACLE_SEED", SEED as usize) as u64;
            let commands = from_environment("ORACLE_COMMANDS", COMMANDS);
            println!("seed {seed}, {commands} commands, RESP{protocol}");
            report(compare(left, redis, Plan { seed, commands, protocol }));
        }
    });
}

#[test]
fn redis_agrees_with_itself() {
    with_redis(|redis| {
        let other = Server::redis(&[]).expect("redis-server starts");
        let left = Side { name: "other", address: other.address };
        for protocol in [2, 3] {
            report(compare(left, redis, Plan { seed: SEED, commands: 3000, protocol }));
        }
    });
}

#[test]
fn a_lie_is_found_and_told_in_few_commands() {
    with_redis(|redis| {
        let other = Server::redis(&[]).expect("redis-server starts");
        let address = lying_proxy(other.address, *b"WRONGTYPE", *b"WRONGTIPE");
        let liar = Side { name: "liar", address };
        let found = compare(liar, redis, Plan { seed: SEED, commands: 2000, protocol: 2 });
        let first = found.mismatches.first().expect("the lie is found");
        assert!(first.contains("WRONGTIPE"), "{first}");
        let commands = first.lines().filter(|line| line.starts_with("  > ")).count();
        assert!(commands <= 3, "not minimised:\n{first}");
    });
}

#[test]
fn the_document_lists_every_allowed_difference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    let document = std::fs::read_to_string(path).expect("the document can be read");
    for (command, _, why) in DIFFERENCES {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{command}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/compatibility.md has no row for {command}"));
        assert!(row.contains(why), "the row for {command} does not say: {why}");
    }
}

fn from_environment(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn with_redis(test: impl FnOnce(Side)) {
    if !redis_is_there() {
        println!("skipped: there is no redis-server 7.0 on the path");
        return;
    }
    let redis = Server::redis(&[]).expect("redis-server starts");
    test(Side { name: "redis", address: redis.address });
}

fn report(report: Report) {
    let count = report.mismatches.len();
    let told = report.mismatches.join("\n");
    assert!(count == 0, "\n{told}\n{count} differences in {} commands\n", report.commands);
}

/// A server that is another one, but for one word in its replies.
fn lying_proxy<const N: usize>(server: SocketAddr, word: [u8; N], lie: [u8; N]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let upstream = TcpStream::connect(server).expect("the server accepts connections");
            let (from, to) = (client.try_clone(), upstream.try_clone());
            let (from, to) = (from.expect("a socket"), to.expect("a socket"));
            std::thread::spawn(move || copy(from, to, |_| {}));
            std::thread::spawn(move || {
                copy(upstream, client, |bytes| {
                    let places: Vec<usize> = bytes
                        .windows(N)
                        .enumerate()
                        .filter(|(_, window)| *window == word)
                        .map(|(at, _)| at)
                        .collect();
                    places.iter().for_each(|&at| bytes[at..at + N].copy_from_slice(&lie));
                });
            });
        }
    });
    address
}

fn copy(mut from: TcpStream, mut to: TcpStream, change: impl Fn(&mut [u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        change(&mut buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    // The other side may be gone already.
    let _ = to.shutdown(std::net::Shutdown::Write);
}
