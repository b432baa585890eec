//! What the comparison tests share: servers to talk to, a client that hides nothing, replies as
//! values, command lines as people type them, and the comparison of two servers by random
//! commands.
//!
//! The client is our own because the tests must see what a library would smooth over: which kind
//! of null was sent, the bytes of a double, a reply too many.

// Each test program uses its own part of this module.
#![allow(dead_code)]

pub mod contents;
pub mod differences;
pub mod disk;
pub mod generate;
pub mod grammar;
pub mod inside;
pub mod minimise;
pub mod oracle;
pub mod quote;
pub mod random;
pub mod server;
pub mod terminal;
pub mod value;
pub mod wire;
