//! The clocks of the system. Reading one costs some 20 ns and no system call, except for the
//! processor time, which costs one.
//!
//! Deliberately absent: the process clock that never goes back (it belongs to the engine).

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

/// Milliseconds since 1970. May step in either direction.
#[inline]
pub fn wall_ms() -> u64 {
    wall_us() / 1000
}

/// Microseconds since 1970. May step in either direction.
#[inline]
pub fn wall_us() -> u64 {
    read_ns(ClockId::CLOCK_REALTIME) / 1000
}

/// Nanoseconds since boot, suspended time included. Never steps.
#[inline]
pub fn boot_ns() -> u64 {
    read_ns(ClockId::CLOCK_BOOTTIME)
}

/// Nanoseconds since some start, without suspended time. Never steps.
#[inline]
pub fn monotonic_ns() -> u64 {
    read_ns(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds of processor time that the calling thread has used.
pub fn thread_cpu_ns() -> u64 {
    read_ns(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// Spent in user mode.
    pub user_us: u64,
    /// Spent in the kernel.
    pub system_us: u64,
}

/// Processor time of all threads of this process.
pub fn process_cpu() -> CpuUsage {
    usage(UsageWho::RUSAGE_SELF)
}

/// Processor time of child processes that have ended.
pub fn children_cpu() -> CpuUsage {
    usage(UsageWho::RUSAGE_CHILDREN)
}

/// Processor time of the calling thread, split by mode.
pub fn thread_cpu() -> CpuUsage {
    usage(UsageWho::RUSAGE_THREAD)
}

// Neither call can fail: Linux has had these clocks since 2.6.39, and the pointers are good. So
// an error is not worth a `Result` in every caller.
#[inline]
fn read_ns(clock: ClockId) -> u64 {
    match clock_gettime(clock) {
        Ok(time) => time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64,
        Err(_) => 0,
    }
}

fn usage(who: UsageWho) -> CpuUsage {
    match getrusage(who) {
        Ok(usage) => CpuUsage {
            user_us: usage.user_time().num_microseconds() as u64,
            system_us: usage.system_time().num_microseconds() as u64,
        },
        Err(_) => CpuUsage::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_clocks_do_not_go_back() {
        let (boot, monotonic, cpu) = (boot_ns(), monotonic_ns(), thread_cpu_ns());
        let sum: u64 = (0..100_000u64).map(std::hint::black_box).sum();
        assert!(sum > 0);
        assert!(boot_ns() >= boot && boot > 0);
        assert!(monotonic_ns() >= monotonic && monotonic > 0);
        assert!(thread_cpu_ns() > cpu, "the sum took processor time");
        assert!(boot_ns() >= monotonic, "boot time includes suspended time");
    }

    #[test]
    fn the_wall_agrees_with_the_standard_library() {
        let before = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64;
        let now = wall_ms();
        let after = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64;
        assert!((before..=after).contains(&now));
    }

    #[test]
    fn the_process_has_used_at_least_what_its_thread_has() {
        let thread = thread_cpu();
        let process = process_cpu();
        let (thread, process) =
            (thread.user_us + thread.system_us, process.user_us + process.system_us);
        assert!(process >= thread);
        assert!(process > 0);
        let _ = children_cpu();
    }
}
