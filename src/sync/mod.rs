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
//! | [`log_ring`] | a record is read whole or not at all, in the order of LSNs |
//! | [`park`] | a worker never sleeps on work |
//! | [`watermark`] | a published position never goes back |
//!
//! Deliberately absent: blocking. Nothing here waits for another thread without a bound, except
//! a push that meets a half-done pop one lap behind (see [`ring::Ring::push`]).

pub mod exclusive;
pub mod log_ring;
pub mod park;
pub mod primitive;
#[cfg(not(loom))]
pub mod reclaim;
pub mod ring;
pub mod seqlock;
pub mod turn;
pub mod watermark;

/// Words that are zero; memory is taken as they are first written.
#[cfg(not(loom))]
fn zeroed_words(count: usize) -> Box<[primitive::AtomicU64]> {
    let words = Box::<[primitive::AtomicU64]>::new_zeroed_slice(count);
    // SAFETY: [sync-016] I-ZERO: an atomic word of zeroes is the atomic word 0.
    unsafe { words.assume_init() }
}

/// Words that are zero.
#[cfg(loom)]
fn zeroed_words(count: usize) -> Box<[primitive::AtomicU64]> {
    (0..count).map(|_| primitive::AtomicU64::new(0)).collect()
}
