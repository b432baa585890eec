//! The process clock: wall time that never steps and never goes back.
//!
//! It starts at the wall clock and runs on CLOCK_BOOTTIME. A tick compares it with the wall
//! clock and sets a rate between 0.95 and 1.05 that closes the gap; the reading stays
//! continuous because each tick starts a new line where the old one stands:
//!
//! ```text
//! reading(t) = base + (t - since) * rate          t, since: CLOCK_BOOTTIME
//! ```
//!
//! The three numbers are read under a sequence count (odd while they change). Only the tick
//! writes them, from one thread at a time.

use crate::sys::clock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};
use std::sync::{Mutex, PoisonError};

/// Parts per million by which the clock may run faster or slower than CLOCK_BOOTTIME.
const SLEW_PPM_MAX: i64 = 50_000;
/// A gap to the wall clock is closed within about this time, if the slew allows.
const CLOSE_WITHIN_NS: i64 = 1_000_000_000;
/// A gap above this is reported: the wall clock jumped.
const JUMP_NS: i64 = 3_600_000_000_000;

/// The one clock of the process.
pub struct ProcessClock {
    sequence: AtomicU64,
    base_ns: AtomicU64,
    since_ns: AtomicU64,
    rate_ppm: AtomicI64,
    gap_ns: AtomicI64,
    tick: Mutex<()>,
}

impl ProcessClock {
    /// A clock that starts at the wall clock.
    pub fn start() -> ProcessClock {
        ProcessClock::at(clock::wall_us() * 1000, clock::boot_ns())
    }

    /// A clock that starts at a wall clock of `wall_ns`, when CLOCK_BOOTTIME is `boot_ns`.
    pub fn at(wall_ns: u64, boot_ns: u64) -> ProcessClock {
        ProcessClock {
            sequence: AtomicU64::new(0),
            base_ns: AtomicU64::new(wall_ns),
            since_ns: AtomicU64::new(boot_ns),
            rate_ppm: AtomicI64::new(0),
            gap_ns: AtomicI64::new(0),
            tick: Mutex::new(()),
        }
    }

    /// Milliseconds since 1970.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.reading_ns(clock::boot_ns()) / 1_000_000
    }

    /// Microseconds since 1970.
    pub fn now_us(&self) -> u64 {
        self.reading_ns(clock::boot_ns()) / 1000
    }

    /// Sets the clock forward to `ms`, if it is behind: the data knows of a later time.
    pub fn raise_to(&self, ms: u64) {
        let _alone = self.tick.lock().unwrap_or_else(PoisonError::into_inner);
        let boot_ns = clock::boot_ns();
        let reading = self.reading_ns(boot_ns).max(ms.saturating_mul(1_000_000));
        self.begin_line(reading, boot_ns, 0);
    }

    /// How far the wall clock is ahead, in ns, at the last tick.
    pub fn gap_ns(&self) -> i64 {
        self.gap_ns.load(Ordering::Relaxed)
    }

    /// Compares with the wall clock and sets the rate; call a few times a second. True when
    /// the wall clock is found more than an hour away for the first time.
    pub fn tick(&self) -> bool {
        self.tick_at(clock::wall_us() * 1000, clock::boot_ns())
    }

    /// As [`ProcessClock::tick`], at that time of both clocks.
    pub fn tick_at(&self, wall_ns: u64, boot_ns: u64) -> bool {
        let Ok(_alone) = self.tick.try_lock() else { return false };
        let reading = self.reading_ns(boot_ns);
        let gap = wall_ns as i64 - reading as i64;
        let rate = (gap / (CLOSE_WITHIN_NS / 1_000_000)).clamp(-SLEW_PPM_MAX, SLEW_PPM_MAX);
        let before = self.gap_ns.swap(gap, Ordering::Relaxed);
        self.begin_line(reading, boot_ns, rate);
        gap.abs() > JUMP_NS && before.abs() <= JUMP_NS
    }

    /// Begins a new line; the caller holds `tick`.
    fn begin_line(&self, reading_ns: u64, boot_ns: u64, rate_ppm: i64) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release); // The odd count is seen before any of the new numbers.
        self.base_ns.store(reading_ns, Ordering::Relaxed);
        self.since_ns.store(boot_ns, Ordering::Relaxed);
        self.rate_ppm.store(rate_ppm, Ordering::Relaxed);
        // Release: pairs with the Acquire in reading_ns; the numbers are seen before the count.
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    /// What it shows when CLOCK_BOOTTIME is `boot_ns`, ns since 1970.
    #[inline]
    pub fn reading_ns(&self, boot_ns: u64) -> u64 {
        loop {
            // Acquire: pairs with the Release at the end of tick_at.
            let sequence = self.sequence.load(Ordering::Acquire);
            let base = self.base_ns.load(Ordering::Relaxed);
            let since = self.since_ns.load(Ordering::Relaxed);
            let rate = self.rate_ppm.load(Ordering::Relaxed);
            // Acquire: pairs with the Release fence of tick_at, should a new number be seen.
            fence(Ordering::Acquire);
            if sequence & 1 == 0 && self.sequence.load(Ordering::Relaxed) == sequence {
                // A reader whose boot time was read before the last tick stays on the line.
                let run = boot_ns.saturating_sub(since);
                let slew = slew(run, rate);
                return base + run.saturating_add_signed(slew);
            }
            std::hint::spin_loop();
        }
    }
}

/// What `rate` parts of a million add to `run`; in two parts, so that neither product is too large.
#[inline]
fn slew(run: u64, rate: i64) -> i64 {
    let (millions, rest) = ((run / 1_000_000) as i64, (run % 1_000_000) as i64);
    millions.saturating_mul(rate).saturating_add(rest * rate / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_wall_clock_set_back_slows_the_clock_but_never_turns_it_back() {
        let clock = ProcessClock::at(1_000 * SECOND, 5 * SECOND);
        let mut last = 0;
        for step in 0..1_000 {
            let boot = 5 * SECOND + step * SECOND / 10;
            let wall = 990 * SECOND + step * SECOND / 10; // ten seconds back
            clock.tick_at(wall, boot);
            let reading = clock.reading_ns(boot);
            assert!(reading >= last, "went back at step {step}");
            last = reading;
        }
        let wall = 990 * SECOND + 999 * SECOND / 10;
        assert!(last > wall && last < wall + 10 * SECOND, "must close the gap by 5 % of 100 s");
    }

    #[test]
    fn a_wall_clock_set_forward_is_followed_at_five_per_cent() {
        let clock = ProcessClock::at(1_000 * SECOND, 0);
        clock.tick_at(1_100 * SECOND, 0);
        assert_eq!(clock.reading_ns(10 * SECOND), 1_010 * SECOND + SECOND / 2);
    }

    #[test]
    fn the_slew_is_what_one_product_gives() {
        for run in [0, 1, 999_999, 1_000_000, 123_456_789_012, 1 << 50] {
            for rate in [0, 1, -1, 333, SLEW_PPM_MAX, -SLEW_PPM_MAX] {
                let exact = i128::from(run) * i128::from(rate) / 1_000_000;
                assert_eq!(i128::from(slew(run, rate)), exact, "{run} at {rate}");
            }
        }
    }

    #[test]
    fn a_later_time_in_the_data_is_where_the_clock_goes_on() {
        let clock = ProcessClock::start();
        let later = clock.now_ms() + 10_000_000;
        clock.raise_to(later);
        assert!(clock.now_ms() >= later);
        clock.raise_to(5);
        assert!(clock.now_ms() >= later);
    }

    #[test]
    fn a_jump_is_reported_once() {
        let clock = ProcessClock::at(1_000 * SECOND, 0);
        assert!(!clock.tick_at(1_001 * SECOND, SECOND));
        assert!(clock.tick_at(90_000 * SECOND, 2 * SECOND));
        assert!(!clock.tick_at(90_001 * SECOND, 3 * SECOND));
    }
}
