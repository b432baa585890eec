//! Rounds of load, kill and start on the same data.

use super::load::{Load, Settled};
use super::{flags, program, seed, start};
use crate::common::random::Random;
use crate::common::server::Server;
use crate::common::value::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// Rounds in the gate; `DSE_CRASH_ROUNDS` overrules it.
const ROUNDS: u64 = 8;
/// After so many rounds the data is thrown away, so that looking at it stays cheap.
const ROUNDS_KEPT: u64 = 12;

fn rounds() -> u64 {
    let given = std::env::var("DSE_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(ROUNDS)
}

/// What happens in a round beside the load.
struct Plan<'a> {
    flags: &'a [&'a str],
    /// Snapshots are asked for, and starts are killed too.
    rough: bool,
    /// Modes of the log are changed.
    modes: bool,
}

fn run(home: &Path, plan: &Plan<'_>, count: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut settled = Settled::default();
    let began = Instant::now();
    let (mut acknowledged, mut open) = (0, 0);
    for round in 0..count {
        let server = start(home, plan.flags);
        if round % ROUNDS_KEPT == ROUNDS_KEPT - 1 {
            let reply = server.client().call(&["FLUSHALL"]).expect("a reply");
            assert_eq!(reply, Value::Simple(b"OK".into()));
            settled.clear();
        }
        let load = Load::start(server.address, round * 100);
        disturb(&server, plan, &mut random);
        server.kill();
        let histories = load.finish().unwrap_or_else(|error| panic!("round {round}: {error}"));
        for history in &histories {
            acknowledged += history.acknowledged;
            open += history.sent - history.acknowledged;
        }
        if plan.rough {
            kill_starts(home, plan, &mut random);
        }
        let server = start(home, plan.flags);
        if let Err(error) = settled.verify(&server, &histories) {
            panic!("round {round}, seed {seed}: {error}; the server said: {}", server.said());
        }
        // Half of the starts follow upon a kill, half upon an end in order.
        if random.chance(50) {
            server.kill();
        } else {
            end(server);
        }
    }
    println!(
        "{count} rounds in {} s: {acknowledged} operations acknowledged, {open} open, {} keys",
        began.elapsed().as_secs(),
        settled.len()
    );
    assert!(acknowledged > 100 * count, "hardly anything was done: {acknowledged}");
}

/// Lets the load run, with snapshots and changes of mode in between.
fn disturb(server: &Server, plan: &Plan<'_>, random: &mut Random) {
    let mut client = server.client();
    let until = Instant::now() + Duration::from_millis(150 + random.below(600) as u64);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(random.below(150) as u64));
        if plan.rough && random.chance(40) {
            // While one is under way a second one is refused, which is as good.
            let _ = client.call(&["BGSAVE"]);
            std::thread::sleep(Duration::from_millis(random.below(40) as u64));
        }
        if plan.modes {
            let mode = *random.pick(&["always", "everysec", "no"]);
            let reply = client.call(&["CONFIG", "SET", "appendfsync", mode]).expect("a reply");
            assert_eq!(reply, Value::Simple(b"OK".into()));
        }
    }
}

/// Starts the server and kills it before, while or after it loads its data.
fn kill_starts(home: &Path, plan: &Plan<'_>, random: &mut Random) {
    for _ in 0..random.below(3) {
        let server = Server::spawn_in(program(), home, &flags(plan.flags)).expect("started");
        std::thread::sleep(Duration::from_millis(random.below(80) as u64));
        server.kill();
    }
}

/// Ends a server in order.
pub fn end(server: Server) {
    end_by(server, &["SHUTDOWN"]);
}

/// Ends `server` by `command`, and waits until it is gone.
pub fn end_by(mut server: Server, command: &[&str]) {
    // The reply is the closed connection.
    let _ = server.client().call(command);
    let until = Instant::now() + Duration::from_secs(20);
    while server.is_running() {
        assert!(Instant::now() < until, "SHUTDOWN does not end the server");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_server_that_is_killed_at_any_moment_has_all_it_acknowledged() {
    let home = tempfile::tempdir().expect("a directory");
    let plan = Plan { flags: &[], rough: true, modes: false };
    run(home.path(), &plan, rounds(), seed());
}

#[test]
fn a_kill_loses_nothing_with_lazy_syncs_either() {
    for mode in ["everysec", "no"] {
        let home = tempfile::tempdir().expect("a directory");
        let plan = Plan { flags: &["--appendfsync", mode], rough: true, modes: false };
        run(home.path(), &plan, rounds().div_ceil(4), seed());
    }
}

#[test]
fn the_mode_can_change_under_load_and_a_kill_still_loses_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let plan = Plan { flags: &[], rough: false, modes: true };
    run(home.path(), &plan, rounds().div_ceil(4), seed());
}
