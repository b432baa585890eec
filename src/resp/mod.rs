//! The wire protocol between clients and server: requests in, replies out. No I/O here.

mod args;
mod error;
mod out;
mod parse;
mod reply;

pub use args::{Args, OwnedArgs, Span};
pub use error::ProtocolError;
pub use out::{LargeReply, Mark, OutQueue};
pub use parse::{ParseLimits, Request, Step};
pub use reply::{Protocol, Reply};
