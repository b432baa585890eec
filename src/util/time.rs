//! The wall clock in the units of the protocol: Unix time in milliseconds and microseconds.
//!
//! Only the edges of the program ask the clock; everything below is given the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970; 0 before it.
pub fn unix_us() -> u64 {
    u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970; 0 before it.
pub fn unix_ms() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `seconds.microseconds` as MONITOR prints a point in time.
pub fn format_unix_us(time_us: u64) -> String {
    format!("{}.{:06}", time_us / 1_000_000, time_us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_tell_the_same_time() {
        let (before, us, after) = (unix_ms(), unix_us(), unix_ms());
        assert!((before..=after).contains(&(us / 1000)));
    }

    #[test]
    fn points_in_time_have_six_digits_behind_the_point() {
        assert_eq!(format_unix_us(1_700_000_000_000_042), "1700000000.000042");
    }
}
