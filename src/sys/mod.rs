#![allow(unsafe_code)]
//! The operating system: the only room that names libc and nix.
//!
//! Thin: one function per thing that the server asks of Linux, descriptors as owned or borrowed
//! types, errors as [`std::io::Error`]. What is called per request ([`socket::recv`],
//! [`socket::send`], [`epoll::Epoll::wait`]) returns the bare error of the system; what is called
//! once says what failed and where.
//!
//! Deliberately absent: policy. When to read, whom to wake and what to do when descriptors run
//! out is decided above.

pub mod affinity;
pub mod allocator;
pub mod bulk;
pub mod clock;
pub mod disk;
pub mod epoll;
pub mod eventfd;
mod failure;
pub mod pages;
pub mod prefetch;
pub mod process;
pub mod signal;
pub mod socket;

pub use failure::os_code;
pub use prefetch::prefetch_read;
