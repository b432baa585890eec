//! The cluster: what several nodes do so that one of them can be lost.
//!
//! Only [`core`] is here: the decisions, without sockets, clocks, threads and files. Nothing in
//! the server uses it yet; `docs/cluster.md` says what is there and which rules it keeps.

pub mod core;
