//! Wiring: from a configuration to a running server, and its orderly end.

pub mod admin;
pub mod banner;
pub mod cli;
mod cluster;
mod descriptors;
mod error;
mod facts;
mod listen;
pub mod logging;
mod pidfile;
mod program;
mod progress;
mod recovery;
mod start;
mod storage;

pub use error::StartError;
pub use program::program;
