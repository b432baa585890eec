//! Connections: accepting them, reading requests, sending replies, and sharing the work among
//! pinned workers.
//!
//! ```text
//!            epoll (one a worker)          ready ring (one)
//!                  |                             |
//!      worker: wait -> events -> turn of a connection -> flush
//!                         |                      ^
//!                         surplus, used-up turns, inbox, kill
//! ```
//!
//! A connection's socket stays registered with its home worker; whoever runs its turn owns it
//! for that long ([`crate::sync::turn`]). A turn parses, executes and answers: no request
//! travels between threads. What a request means is the [`Service`]'s business.
//!
//! Deliberately absent: the names of commands, timers per connection (a tick walks the
//! connections of its worker), and any wait other than `epoll_wait`.

mod card;
mod hub;
mod io;
mod listener;
mod partial;
mod scratch;
mod service;
mod turn;
mod worker;

pub use card::{Card, Labels, Peer};
pub use hub::{ConnId, Hub, HubOptions};
pub use listener::Listener;
pub use service::{Admission, Batch, Bounds, Flow, Io, Served, Service, TickOutcome};
pub use worker::run_worker;
