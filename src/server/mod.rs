//! Wiring: from a configuration to a running server, and its orderly end.

mod error;
mod listen;
mod start;

pub use error::StartError;
pub use start::run;
