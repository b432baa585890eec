//! The client: connections in numbers, driven as fast as one thread can, or at a rate.
//!
//! ```text
//!   run      threads, window, processor time     worker   epoll loop of one thread
//!   conn     one connection's bytes and batches  scan     where replies end
//!   target   where a server is, plain questions  answer   replies as values
//!   process  the server's process, if it is here nodes    the nodes of a cluster
//! ```
//!
//! A *batch* is what a connection sends at once (`-P` requests); it sends the next one when all
//! replies are there. With a rate, requests have intended times, and a reply's latency counts
//! from there, whether the request could be sent in time or not.
//!
//! The *window* is what is measured: from the end of the warm-up to the end of the run.

pub mod answer;
mod conn;
pub mod nodes;
pub mod process;
pub mod run;
pub mod scan;
pub mod target;
mod worker;
