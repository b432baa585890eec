//! A worker's seat: it is pinned to its processor while it has that to itself.
//!
//! A pinned thread beside a busy neighbour waits for slices of 3 ms while other processors idle.
//! So once a second each worker looks how long it waited for its processor, and how long others
//! of its mask idled meanwhile: both, and it leaves; a minute without waiting, and it returns.
//! Where all processors are busy it stays: moving would help nobody.

use super::affinity::{allow_current_thread, pin_current_thread};
use super::clock;
use crate::limits::{
    SEAT_CALM_S, SEAT_CALM_WAIT_PERMILLE, SEAT_IDLE_PERMILLE, SEAT_LOOK_NS, SEAT_WAIT_PERMILLE,
};
use std::cell::RefCell;
use std::fs;
use std::io;

/// Nanoseconds of one tick of /proc/stat.
const STAT_TICK_NS: u64 = 10_000_000;

thread_local! {
    static SEAT: RefCell<Option<Seat>> = const { RefCell::new(None) };
}

/// Pins the calling thread to `cpu`; [`tick`] may let it go to any of `all`.
pub fn take(cpu: usize, all: &[usize]) -> io::Result<()> {
    pin_current_thread(cpu)?;
    let seat = Seat { cpu, all: all.to_vec(), is_pinned: true, last: None, calm: 0 };
    SEAT.with(|cell| *cell.borrow_mut() = Some(seat));
    Ok(())
}

/// To be called now and then by a thread that may have a seat.
pub fn tick() {
    SEAT.with(|cell| {
        if let Some(seat) = cell.borrow_mut().as_mut() {
            seat.look();
        }
    });
}

/// A thread's seat.
struct Seat {
    cpu: usize,
    /// The processors that it may use.
    all: Vec<usize>,
    is_pinned: bool,
    last: Option<Reading>,
    /// Looks in a row at which it had not waited.
    calm: u32,
}

/// Counters, in nanoseconds.
#[derive(Clone, Copy)]
struct Reading {
    at_ns: u64,
    /// The thread could have run, and waited.
    waited_ns: u64,
    /// The other processors of its mask idled.
    idle_ns: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Move {
    Stay,
    Leave,
    Return,
}

impl Seat {
    fn look(&mut self) {
        let at_ns = clock::monotonic_ns();
        if self.last.is_some_and(|last| at_ns - last.at_ns < SEAT_LOOK_NS) {
            return;
        }
        // Where either cannot be read it stays where it is.
        let Some(waited_ns) = waited_ns() else { return };
        let Some(idle_ns) = self.idle_ns() else { return };
        let moved = match self.judge(Reading { at_ns, waited_ns, idle_ns }) {
            Move::Stay => return,
            Move::Leave => allow_current_thread(&self.all),
            Move::Return => pin_current_thread(self.cpu),
        };
        match moved {
            Ok(()) => tracing::debug!(cpu = self.cpu, pinned = self.is_pinned, "a worker moves"),
            Err(error) => tracing::debug!(%error, "a worker stays on its processors"),
        }
    }

    fn judge(&mut self, now: Reading) -> Move {
        let Some(last) = self.last.replace(now) else { return Move::Stay };
        let permille = |now_ns: u64, last_ns: u64| {
            now_ns.saturating_sub(last_ns) * 1000 / (now.at_ns - last.at_ns).max(1)
        };
        let waited = permille(now.waited_ns, last.waited_ns);
        let idle = permille(now.idle_ns, last.idle_ns);
        if self.is_pinned {
            if waited < SEAT_WAIT_PERMILLE || idle < SEAT_IDLE_PERMILLE {
                return Move::Stay;
            }
            (self.is_pinned, self.calm) = (false, 0);
            return Move::Leave;
        }
        self.calm = if waited < SEAT_CALM_WAIT_PERMILLE { self.calm + 1 } else { 0 };
        if self.calm < SEAT_CALM_S {
            return Move::Stay;
        }
        self.is_pinned = true;
        Move::Return
    }

    /// What the others of its mask idled since the start of the machine.
    fn idle_ns(&self) -> Option<u64> {
        idle_ticks(&fs::read_to_string("/proc/stat").ok()?, |cpu| {
            cpu != self.cpu && self.all.contains(&cpu)
        })
        .map(|ticks| ticks * STAT_TICK_NS)
    }
}

/// What the calling thread waited for a processor, since it began.
fn waited_ns() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Idle ticks of those processors that `counts` says, of the text of /proc/stat.
fn idle_ticks(text: &str, counts: impl Fn(usize) -> bool) -> Option<u64> {
    let mut sum = None;
    for line in text.lines() {
        // cpuN user nice system idle iowait ...
        let mut words = line.split_ascii_whitespace();
        let Some(cpu) = words.next().and_then(|name| name.strip_prefix("cpu")) else { break };
        if !cpu.parse().is_ok_and(&counts) {
            continue;
        }
        let ticks: u64 = words.nth(3)?.parse().ok()?;
        sum = Some(sum.unwrap_or(0) + ticks);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::affinity::available_cpus;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A seat that is looked at once a second: milliseconds waited and idled in each.
    fn moves(seconds: &[(u64, u64)]) -> Vec<Move> {
        let mut seat = Seat { cpu: 0, all: vec![0, 1], is_pinned: true, last: None, calm: 0 };
        let mut now = Reading { at_ns: SECOND, waited_ns: 5, idle_ns: 7 };
        assert_eq!(seat.judge(now), Move::Stay, "the first look knows nothing");
        let look = |(waited_ms, idle_ms): &(u64, u64)| {
            now.at_ns += SECOND;
            now.waited_ns += waited_ms * 1_000_000;
            now.idle_ns += idle_ms * 1_000_000;
            seat.judge(now)
        };
        seconds.iter().map(look).collect()
    }

    #[test]
    fn who_waits_while_others_idle_leaves() {
        assert_eq!(moves(&[(0, 900), (400, 600)]), [Move::Stay, Move::Leave]);
    }

    #[test]
    fn who_waits_where_all_are_busy_stays() {
        assert_eq!(moves(&[(400, 10), (500, 0)]), [Move::Stay, Move::Stay]);
    }

    #[test]
    fn a_minute_without_waiting_brings_it_back_and_one_wait_begins_it_anew() {
        let calm = SEAT_CALM_S as usize;
        let mut seconds = vec![(400, 600)];
        seconds.extend(vec![(0, 900); calm - 1]);
        seconds.push((100, 900));
        seconds.extend(vec![(0, 900); calm]);
        let moves = moves(&seconds);
        let returns: Vec<usize> =
            (0..moves.len()).filter(|at| moves[*at] == Move::Return).collect();
        assert_eq!(moves[0], Move::Leave);
        assert_eq!(returns, [seconds.len() - 1]);
    }

    #[test]
    fn idle_time_is_read_for_the_processors_asked_for() {
        let text = "cpu  9 9 9 900 9\ncpu0 1 2 3 40 5\ncpu1 1 2 3 50 5\ncpu2 1 1 1 70 1\nintr 5\n";
        assert_eq!(idle_ticks(text, |cpu| cpu > 0), Some(120));
        assert_eq!(idle_ticks(text, |cpu| cpu > 2), None);
        for text in ["", "cpu0", "cpu0 1 2 3", "cpu0 1 2 3 x", "cpux 1 2 3 4", "\0"] {
            assert_eq!(idle_ticks(text, |_| true), None, "{text}");
        }
    }

    #[test]
    fn a_seat_is_taken_and_left_for_all_processors() {
        std::thread::spawn(|| {
            let all = available_cpus();
            take(all[0], &all).expect("a processor of our own mask");
            assert_eq!(available_cpus(), [all[0]]);
            tick();
            assert!(waited_ns().is_some(), "procfs");
            allow_current_thread(&all).expect("our own mask");
            assert_eq!(available_cpus(), all);
        })
        .join()
        .expect("the thread's assertions hold");
    }
}
