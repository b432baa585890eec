//! The commands: one table row and one function each, a file a family.

pub mod table;

mod admission;
mod bits;
mod client;
pub mod cluster;
mod command_command;
mod command_keys;
mod command_stats;
mod config_command;
mod connection;
mod debug;
mod dispatch;
pub mod durability;
mod events;
mod evicting;
mod expiry;
mod hashes;
mod help;
mod info;
mod keyspace;
mod latency;
mod lists;
pub mod loading;
mod log_cell;
mod memory;
mod monitor;
mod node;
mod numbers;
mod pause;
mod persistence;
mod pubsub;
pub mod replay;
mod replication;
pub mod saving;
mod scan;
mod server;
mod session;
mod sets;
mod slowlog;
mod strings;
mod sweeping;
pub mod switching;
mod syntax;
mod transactions;
mod zset_range;
mod zsets;

/// The version of Redis whose behaviour is followed, as clients ask for it.
pub const REDIS_VERSION: &str = "7.2.4";

pub use node::{Identity, Node, NodeHub, random_seed};
pub use session::{Cx, Session};
