//! The cluster: what several nodes do so that one of them can be lost.
//!
//! [`core`] decides, [`wire`] says how nodes talk: both without sockets, clocks, threads and files.
//! Nothing in the server uses them yet; `docs/cluster.md` says what is there and which rules it
//! keeps.

pub mod core;
pub mod wire;
