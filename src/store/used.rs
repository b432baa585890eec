//! Times of use in 16 bits, as an entry's header keeps them.
//!
//! ```text
//!   0 | seconds, modulo 2^15            used in the last hours
//!   1 | units of 256 s, modulo 2^15     longer ago
//! ```
//!
//! A time means something only while it lies within half of its range. Whoever passes over the
//! entries now and then (see `sweep`) rewrites it before that ends: seconds become units, and
//! what was not used for 48 days stays 48 days old.

const COARSE: u16 = 1 << 15;
const RANGE: u64 = 1 << 15;
const UNIT_S: u64 = 256;
/// Seconds after which a time must have been passed over again, with room to spare.
pub const PASS_WITHIN_S: u64 = RANGE / 4;

/// The time `age_s` seconds before `now_s`.
pub fn used_before(now_s: u64, age_s: u64) -> u16 {
    if age_s < RANGE / 2 {
        return (now_s.wrapping_sub(age_s) % RANGE) as u16;
    }
    let units = (age_s / UNIT_S).min(RANGE / 2);
    COARSE | ((now_s / UNIT_S).wrapping_sub(units) % RANGE) as u16
}

/// Seconds between `used` and `now_s`.
pub fn age_s(used: u16, now_s: u64) -> u64 {
    let time = u64::from(used & !COARSE);
    if used & COARSE == 0 {
        return now_s.wrapping_sub(time) % RANGE;
    }
    (now_s / UNIT_S).wrapping_sub(time) % RANGE * UNIT_S
}

/// The same time, in the form that lasts until the next pass.
pub fn refreshed(used: u16, now_s: u64) -> u16 {
    let age_s = age_s(used, now_s);
    if used & COARSE != 0 && age_s <= RANGE / 2 * UNIT_S { used } else { used_before(now_s, age_s) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_exact_for_hours_and_then_to_the_unit() {
        for now_s in [0, 1, 40_000, 1_795_000_000, 1_795_016_384] {
            for age in [0, 1, 59, 3_600, RANGE / 2 - 1] {
                assert_eq!(age_s(used_before(now_s, age), now_s), age, "at {now_s}");
            }
            for age in [RANGE / 2, 100_000, 4_000_000] {
                let told = age_s(used_before(now_s, age), now_s);
                assert!(told <= age + UNIT_S && told + UNIT_S > age, "{age} told as {told}");
            }
        }
    }

    #[test]
    fn a_time_that_is_passed_over_now_and_then_never_grows_young() {
        let start = 1_795_000_123;
        let mut used = used_before(start, 0);
        let mut before = 0;
        for pass in 0..2_000 {
            let now_s = start + pass * PASS_WITHIN_S;
            let age = age_s(used, now_s);
            assert!(age >= before || age >= RANGE / 2 * UNIT_S, "{age} after {before}");
            assert!(age <= pass * PASS_WITHIN_S + UNIT_S);
            before = age;
            used = refreshed(used, now_s);
        }
        assert!(before >= 48 * 24 * 3600, "{before}");
    }

    /// Planted mistake: without a pass the time comes round.
    #[test]
    fn a_time_that_nobody_passes_over_grows_young() {
        let used = used_before(1_000_000, 0);
        assert!(age_s(used, 1_000_000 + RANGE + 5) < 10);
    }
}
