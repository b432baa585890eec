//! CONFIG SET appendonly: what connections ask for, and the moment between two requests at which
//! the log comes or goes.
//!
//! ```text
//!   CONFIG SET --ask--> thread of the storage --hold--> no write is under way --> the log changes
//!       |                                                                             |
//!       +<---------------- resumed, with the outcome ---------------- let go <--------+
//! ```
//!
//! A write looks for the log several times between its admission and its record, so it must find
//! the same each time. `Durability::hold` makes new writes wait, and [`wait_for_requests`] returns
//! when those that were admitted before are done: requests run under a pin.
//!
//! Deliberately absent: how a log is opened and closed; that is the server's (`server::storage`).

use super::node::NodeHub;
use crate::limits::{SWITCH_FAILURES_KEPT, SWITCH_WAIT_MS};
use crate::net::ConnId;
use crate::sync::reclaim;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What connections want of the storage, and what became of it.
#[derive(Default)]
pub struct Switching {
    state: Mutex<State>,
    bell: Condvar,
    /// A log is being written that no snapshot stands in front of yet.
    is_opening: AtomicBool,
}

#[derive(Default)]
struct State {
    asked: u64,
    finished: u64,
    /// The last numbers that failed, all up to the second of a pair, and why.
    failed: VecDeque<(u64, u64, String)>,
    waiting: Vec<ConnId>,
    stopping: bool,
}

impl Switching {
    /// The configuration has changed: the storage is to follow it.
    pub fn ask(&self) {
        self.lock().asked += 1;
        self.bell.notify_all();
    }

    /// The number of what was asked for last.
    pub fn asked(&self) -> u64 {
        self.lock().asked
    }

    /// True while something is to be done.
    pub fn is_pending(&self) -> bool {
        let state = self.lock();
        state.asked > state.finished
    }

    /// What became of that number; if nothing yet, `id` is resumed when it is done.
    pub fn outcome(&self, number: u64, id: ConnId) -> Option<Result<(), String>> {
        let mut state = self.lock();
        if state.finished < number {
            state.waiting.push(id);
            return None;
        }
        let is_it = |(first, last, _): &&(u64, u64, String)| (*first..=*last).contains(&number);
        Some(state.failed.iter().find(is_it).map_or(Ok(()), |(_, _, why)| Err(why.clone())))
    }

    /// Waits until something is asked for; its number, or `None` at the end of the server.
    pub fn next(&self) -> Option<u64> {
        let mut state = self.lock();
        while !state.stopping && state.asked <= state.finished {
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (!state.stopping).then_some(state.asked)
    }

    /// Tells those who wait for `number` and what was asked before.
    pub fn finish(&self, number: u64, outcome: Result<(), String>, hub: &NodeHub) {
        let mut state = self.lock();
        if let Err(why) = outcome {
            let first = state.finished + 1;
            state.failed.push_back((first, number, why));
            if state.failed.len() > SWITCH_FAILURES_KEPT {
                state.failed.pop_front();
            }
        }
        state.finished = number;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|id| hub.resume(id));
    }

    /// Ends the thread that follows.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.bell.notify_all();
    }

    /// True while the log alone would not bring the data back, because the snapshot in front of it
    /// is not finished.
    pub fn is_opening(&self) -> bool {
        self.is_opening.load(Ordering::SeqCst)
    }

    /// Says whether such a snapshot is still to come.
    pub fn set_opening(&self, is_opening: bool) {
        self.is_opening.store(is_opening, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns when all requests that were being executed when it was called are done. Not to be
/// called under a pin.
pub fn wait_for_requests() {
    struct Gone(Sender<()>);
    impl Drop for Gone {
        fn drop(&mut self) {
            // Whoever waited may have gone.
            let _ = self.0.send(());
        }
    }
    let (gone, is_gone) = channel();
    // What is retired now goes when the last pin of today has gone.
    reclaim::retire_box(Box::new(Gone(gone)), size_of::<Gone>());
    loop {
        reclaim::collect();
        if is_gone.recv_timeout(Duration::from_millis(SWITCH_WAIT_MS)).is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_have_begun_are_waited_for() {
        let pinned = Mutex::new(());
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let before = pinned.lock().expect("nobody has it");
            let (begun, has_begun) = channel();
            let (pinned, ended) = (&pinned, &ended);
            scope.spawn(move || {
                let _pin = reclaim::pin();
                begun.send(()).expect("heard");
                drop(pinned.lock());
                ended.store(true, Ordering::SeqCst);
            });
            has_begun.recv().expect("it runs");
            let waiter = scope.spawn(move || {
                wait_for_requests();
                assert!(ended.load(Ordering::SeqCst), "the pin was older");
            });
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiter.is_finished());
            drop(before);
        });
    }
}
