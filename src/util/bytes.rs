//! Comparing short byte strings without a call.

/// Whether two byte strings are equal. Of up to 32 bytes the two ends are compared, which overlap.
#[inline(always)]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        8..=16 => ends_equal::<8>(a, b),
        4..=7 => ends_equal::<4>(a, b),
        17..=32 => ends_equal::<16>(a, b),
        _ => a == b,
    }
}

#[inline(always)]
fn ends_equal<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    a.first_chunk::<N>() == b.first_chunk::<N>() && a.last_chunk::<N>() == b.last_chunk::<N>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_every_length_counts() {
        for len in 0..70 {
            let one: Vec<u8> = (0..len as u8).collect();
            assert!(equal(&one, &one.clone()));
            assert!(!equal(&one, &[&one[..], b"x"].concat()), "longer than {len}");
            for at in 0..len {
                let mut other = one.clone();
                other[at] ^= 0x80;
                assert!(!equal(&one, &other), "byte {at} of {len}");
            }
        }
    }
}
