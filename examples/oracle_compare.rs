//! The long comparison with redis-server:
//! `cargo run --example oracle_compare -- --commands 100000`.
//!
//! Starts both servers itself (dse-server from the directory of this program), or compares two
//! that run already (`--dse ADDR --redis ADDR`). Exit code 1 if replies differ.

#[path = "../tests/common/mod.rs"]
mod common;

use clap::{Arg, ArgMatches, Command, value_parser};
use common::oracle::{Plan, Side, compare};
use common::server::Server;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() -> ExitCode {
    let matches = command_line().get_matches();
    let (mut servers, mut sides) = (Vec::new(), Vec::new());
    for name in ["dse", "redis"] {
        let address = match matches.get_one::<SocketAddr>(name) {
            Some(address) => *address,
            None => match start(name) {
                Ok(server) => {
                    let address = server.address;
                    servers.push(server);
                    address
                }
                Err(why) => {
                    eprintln!("{why}");
                    return ExitCode::from(2);
                }
            },
        };
        sides.push(Side { name, address });
    }
    run(&matches, sides[0], sides[1])
}

fn command_line() -> Command {
    let number = |name: &'static str| Arg::new(name).long(name).num_args(1);
    Command::new("oracle_compare")
        .about("Sends the same random commands to dse-server and redis-server")
        .arg(number("commands").value_parser(value_parser!(usize)).default_value("100000"))
        .arg(number("seed").value_parser(value_parser!(u64)).help("default: from the clock"))
        .arg(number("resp").value_parser(value_parser!(u8).range(2..=3)).help("default: both"))
        .arg(number("dse").value_parser(value_parser!(SocketAddr)).help("a running dse-server"))
        .arg(number("redis").value_parser(value_parser!(SocketAddr)).help("a running redis-server"))
}

fn start(name: &str) -> Result<Server, String> {
    if name == "redis" {
        return Server::redis(&[]);
    }
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = here.ancestors().nth(2).unwrap_or(&here).join("dse-server");
    Server::dse(&program, &[])
}

fn run(matches: &ArgMatches, dse: Side, redis: Side) -> ExitCode {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seed = matches.get_one("seed").copied().unwrap_or(clock);
    let commands = matches.get_one("commands").copied().unwrap_or(100_000);
    let protocols = match matches.get_one::<u8>("resp") {
        Some(protocol) => vec![*protocol],
        None => vec![2, 3],
    };
    let mut differences = 0;
    for protocol in protocols {
        println!("seed {seed}, {commands} commands, RESP{protocol}");
        let report = compare(dse, redis, Plan { seed, commands, protocol });
        report.mismatches.iter().for_each(|text| println!("{text}"));
        println!("{} commands, {} differences", report.commands, report.mismatches.len());
        differences += report.mismatches.len();
    }
    if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
