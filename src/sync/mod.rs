#![allow(unsafe_code)]
//! Lock-free building blocks: ring, seqlock, reclamation, watermark, turn cell, parking.
//!
//! Everything that orders memory between threads is here, so that it can be model-checked here:
//! the files are written over [`primitive`], which is std in a normal build and loom under
//! `--cfg loom` (`RUSTFLAGS="--cfg loom" cargo test --test loom`).
//!
//! | file | promise |
//! |---|---|
//! | [`ring`] | what was pushed is popped once, in order per pusher |
//! | [`seqlock`] | what a validated read saw existed at one instant |
//! | [`exclusive`] | a change of several keys is seen whole |
//! | [`reclaim`] | memory is freed after the last reader that could see it |
//! | [`turn`] | one runner per connection; nothing noted is lost; a stale handle is harmless |
//! | [`park`] | a worker never sleeps on work |
//! | [`watermark`] | a published position never goes back |
//!
//! Deliberately absent: blocking. Nothing here waits for another thread without a bound, except
//! a push that meets a half-done pop one lap behind (see [`ring::Ring::push`]).

pub mod exclusive;
pub mod park;
pub mod primitive;
#[cfg(not(loom))]
pub mod reclaim;
pub mod ring;
pub mod seqlock;
pub mod turn;
pub mod watermark;
