//! dse: a distributed in-memory storage engine that speaks the Redis protocol.
//!
//! The rooms, lowest layer first. A room imports from lower layers only; `tests/tidy.rs` holds
//! the rule, `ARCHITECTURE.md` explains it.
//!
//! | layer | rooms |
//! |---|---|
//! | L0 | [`limits`], [`util`] |
//! | L1 | [`sync`], [`sys`] (both may contain unsafe code) |
//! | L2 | [`resp`], [`store`], [`config`], [`wal`], [`cluster`] (the pure core) |
//! | L3 | [`net`], [`snapshot`] |
//! | L4 | [`engine`] |
//! | L5 | [`commands`] |
//! | L6 | [`driver`] (of a cluster's node) |
//! | L7 | [`server`], `bench` (the feature of that name) |

pub mod limits;
pub mod util;

pub mod sync;
// A build for model checking (`--cfg loom`) ends here: whatever lies above needs real atomics.
#[cfg(not(loom))]
pub mod sys;

#[cfg(not(loom))]
pub mod cluster;
#[cfg(not(loom))]
pub mod config;
#[cfg(not(loom))]
pub mod resp;
#[cfg(not(loom))]
pub mod store;
#[cfg(not(loom))]
pub mod wal;

#[cfg(not(loom))]
pub mod net;
#[cfg(not(loom))]
pub mod snapshot;

#[cfg(not(loom))]
pub mod engine;

#[cfg(not(loom))]
pub mod commands;

#[cfg(not(loom))]
pub mod driver;

#[cfg(not(loom))]
pub mod server;

#[cfg(all(not(loom), feature = "bench"))]
pub mod bench;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
