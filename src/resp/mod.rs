//! The wire protocol between clients and server: requests in, replies out. No I/O here.

mod args;
mod out;
mod reply;

pub use args::{Args, OwnedArgs, Span};
pub use out::{LargeReply, OutQueue};
pub use reply::{Protocol, Reply};
