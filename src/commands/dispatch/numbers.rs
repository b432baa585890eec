//! What is counted of the commands that run: calls, times, uses of keys.

use super::{Call, ExecutionRun, marks_uses};
use crate::commands::admission::note_slow;
use crate::commands::node::{Local, Node};
use crate::commands::table::{Command, Keys, Run, flags};
use crate::engine::SAMPLE;
use crate::net::Io;
use crate::sys::clock;

impl ExecutionRun<'_> {
    /// Counts one of several uses of keys for the hot keys.
    #[inline]
    pub(super) fn note_use(&self, io: &mut Io<'_, Node>, call: &Call<'_, '_>) {
        let local = &mut *io.local;
        if local.until_sample > 0 {
            local.until_sample -= 1;
        } else if let Some(hint) = call.hint
            && marks_uses(io.card, call.command)
        {
            let key = hint.key(call.args.get(call.command.keys.first as usize));
            // Of a random number of uses, so that no rhythm of requests hides a key.
            local.until_sample = local.rng.below(2 * SAMPLE - 1);
            self.node.hot.of(local.worker).add(io.session.db, key.hash, key.bytes);
        }
    }

    /// Keeps the numbers of a command that ran.
    ///
    /// A look at the clock costs a third of a GET. So short commands in a row share one and are
    /// taken to have lasted equally long, unless commands that short count as slow.
    #[inline(always)]
    pub(super) fn count(&mut self, io: &mut Io<'_, Node>, call: &Call<'_, '_>, failed: bool) {
        let stats = &self.node.workers[io.local.worker];
        let calls = stats.by_command.of(call.place);
        self.commands += 1;
        calls.calls.add(1);
        if failed {
            calls.failed.add(1);
        }
        let slower_than_us = self.node.config.hot.slowlog_log_slower_than_us();
        if is_short(call.command) && !(0..SHORT_US).contains(&slower_than_us) {
            io.local.times[self.timed] = (call.place, 0);
            self.timed += 1;
            self.untimed += 1;
            return;
        }
        self.settle_short(io.local);
        let now_ns = clock::boot_ns();
        let took_ns = now_ns - self.last_ns;
        self.last_ns = now_ns;
        calls.time_ns.add(took_ns);
        io.local.times[self.timed] = (call.place, took_ns);
        self.timed += 1;
        if slower_than_us >= 0
            && took_ns >= slower_than_us as u64 * 1000
            && !call.command.is(flags::SKIP_SLOWLOG)
        {
            note_slow(self.node, io.card, call.args, took_ns / 1000);
        }
    }

    /// Adds what has run to the numbers that anyone may ask for: before a command that might, and
    /// at the end of the batch.
    pub(super) fn settle_counts(&mut self, io: &Io<'_, Node>) {
        let stats = &self.node.workers[io.local.worker];
        stats.commands.add(std::mem::take(&mut self.commands));
        let unsent = io.out.len();
        stats.output_bytes.add(unsent.saturating_sub(self.unsent) as u64);
        self.unsent = unsent;
    }

    /// Shares the time since the last look at the clock among the short commands that ran since.
    /// When that look was, ns of the clock that leases are judged by: no command has run since.
    pub(in crate::commands) fn settle_short(&mut self, local: &mut Local) -> u64 {
        let count = std::mem::take(&mut self.untimed);
        if count == 0 {
            return self.last_ns;
        }
        let now_ns = clock::boot_ns();
        let each_ns = (now_ns - self.last_ns) / count as u64;
        self.last_ns = now_ns;
        let by_command = &self.node.workers[local.worker].by_command;
        for (place, took_ns) in &mut local.times[self.timed - count..self.timed] {
            *took_ns = each_ns;
            by_command.of(*place).time_ns.add(each_ns);
        }
        now_ns
    }
}

/// Whether a command's time does not depend on how much it is about: lock-free reads, and writes
/// of one key that take no list of arguments.
#[inline(always)]
pub(super) fn is_short(command: &Command) -> bool {
    command.keys == Keys::ONE
        && match command.run {
            Run::Read(_) => true,
            Run::Locked(_) => {
                command.is(flags::STORES_SECOND) || command.is(flags::FAST) && command.arity > 0
            }
            _ => false,
        }
}

/// Short commands are timed one by one if commands shorter than this count as slow.
const SHORT_US: i64 = 1000;
