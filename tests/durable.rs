//! Nothing that was answered is lost: servers that are killed at any moment, whose files are cut
//! and damaged, and that start again on what is left.
//!
//! `scripts/crash ROUNDS` runs more rounds than the gate does, `scripts/power_cut CUTS` takes
//! away the file system under the server (as root), `scripts/faults` makes system calls fail.

#[path = "durable/calls.rs"]
mod calls;
mod common;
#[path = "durable/faults.rs"]
mod faults;
#[path = "durable/files.rs"]
mod files;
#[path = "durable/load.rs"]
mod load;
#[path = "durable/long.rs"]
mod long;
#[path = "durable/model.rs"]
mod model;
#[path = "durable/older.rs"]
mod older;
#[path = "durable/order.rs"]
mod order;
#[path = "durable/planted.rs"]
mod planted;
#[path = "durable/power.rs"]
mod power;
#[path = "durable/rounds.rs"]
mod rounds;
#[path = "durable/switch.rs"]
mod switch;

use common::server::Server;
use std::path::Path;

/// The flags of a server that keeps its data, in small files so that many come and go.
fn flags(more: &[&str]) -> Vec<String> {
    let fixed = ["--appendonly", "yes", "--wal-segment-bytes", "1mb"];
    fixed.iter().chain(more).map(|flag| flag.to_string()).collect()
}

/// A server on the data in `home`.
fn start(home: &Path, more: &[&str]) -> Server {
    Server::dse_in(program(), home, &flags(more)).unwrap_or_else(|error| panic!("{error}"))
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_dse-server"))
}

/// A random number that the environment may fix, and that is printed.
fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let given = std::env::var("DSE_CRASH_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| now.map_or(1, |now| now.as_nanos() as u64));
    println!("DSE_CRASH_SEED={seed}");
    seed
}
