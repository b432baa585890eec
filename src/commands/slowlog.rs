//! Commands that took long.

use crate::limits::{SLOWLOG_ARG_BYTES_MAX, SLOWLOG_ARGS_MAX};
use crate::resp::Args;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// One slow command.
#[derive(Clone, Debug)]
pub struct SlowCommand {
    /// Counts up from 0 since the start.
    pub id: u64,
    /// When it ran, seconds since 1970.
    pub time_s: u64,
    /// How long it took, us.
    pub duration_us: u64,
    /// Its arguments, cut as Redis cuts them.
    pub args: Vec<Vec<u8>>,
    /// The client's address.
    pub peer: String,
    /// The client's name.
    pub name: String,
}

/// The newest slow commands, newest first.
#[derive(Default)]
pub struct SlowLog {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next_id: u64,
    entries: VecDeque<SlowCommand>,
}

impl SlowLog {
    /// Notes a command; the oldest beyond `len_max` are forgotten.
    pub fn push(&self, mut command: SlowCommand, len_max: usize) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        command.id = inner.next_id;
        inner.next_id += 1;
        inner.entries.push_front(command);
        inner.entries.truncate(len_max);
    }

    /// The `count` newest.
    pub fn newest(&self, count: usize) -> Vec<SlowCommand> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.entries.iter().take(count).cloned().collect()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).entries.len()
    }

    /// True when none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).entries.clear();
    }
}

/// A copy of the arguments, cut to a bounded number and size; what was cut is told.
pub fn cut_args(args: Args<'_>) -> Vec<Vec<u8>> {
    let shown = if args.len() > SLOWLOG_ARGS_MAX { SLOWLOG_ARGS_MAX - 1 } else { args.len() };
    let mut cut: Vec<Vec<u8>> = args.iter_from(0).take(shown).map(cut_arg).collect();
    if shown < args.len() {
        cut.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    cut
}

fn cut_arg(arg: &[u8]) -> Vec<u8> {
    if arg.len() <= SLOWLOG_ARG_BYTES_MAX {
        return arg.to_vec();
    }
    let mut cut = arg[..SLOWLOG_ARG_BYTES_MAX].to_vec();
    let more = arg.len() - SLOWLOG_ARG_BYTES_MAX;
    cut.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
    cut
}
