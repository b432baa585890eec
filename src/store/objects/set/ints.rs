//! A small set of integers: a sorted array, as narrow as its widest number has ever needed.

use crate::util::int::parse_i64;

/// Sorted integers.
#[derive(Clone, Debug)]
pub(super) enum Ints {
    W16(Vec<i16>),
    W32(Vec<i32>),
    W64(Vec<i64>),
}

/// The same expression over the array of whatever width.
macro_rules! with {
    ($ints:expr, $values:ident => $body:expr) => {
        match $ints {
            Ints::W16($values) => $body,
            Ints::W32($values) => $body,
            Ints::W64($values) => $body,
        }
    };
}

impl Default for Ints {
    fn default() -> Ints {
        Ints::W16(Vec::new())
    }
}

impl Ints {
    pub fn len(&self) -> usize {
        with!(self, values => values.len())
    }

    pub fn heap_bytes(&self) -> usize {
        with!(self, values => values.capacity() * element_bytes(values))
    }

    /// Where `member` is.
    pub fn find(&self, member: &[u8]) -> Option<usize> {
        self.search(parse_i64(member)?).ok()
    }

    /// The number at `at`, which must be below [`Ints::len`].
    pub fn get(&self, at: usize) -> i64 {
        match self {
            Ints::W16(values) => i64::from(values[at]),
            Ints::W32(values) => i64::from(values[at]),
            Ints::W64(values) => values[at],
        }
    }

    /// Adds a number that is not in yet.
    pub fn insert(&mut self, value: i64) {
        self.widen_for(value);
        if let Err(at) = self.search(value) {
            // Just wide enough for `value`: no bit is cut off.
            with!(self, values => {
                if values.len() == values.capacity() {
                    values.reserve_exact(values.len() / 4 + 4);
                }
                values.insert(at, value as _);
            });
        }
    }

    /// Removes the number at `at`; those above it move down.
    pub fn remove(&mut self, at: usize) {
        with!(self, values => {
            values.remove(at);
            if values.len() < values.capacity() / 4 {
                values.shrink_to(values.len() * 2);
            }
        });
    }

    fn search(&self, value: i64) -> Result<usize, usize> {
        match self {
            Ints::W16(values) => values.binary_search_by_key(&value, |&other| i64::from(other)),
            Ints::W32(values) => values.binary_search_by_key(&value, |&other| i64::from(other)),
            Ints::W64(values) => values.binary_search(&value),
        }
    }

    fn widen_for(&mut self, value: i64) {
        let fits = match self {
            Ints::W16(_) => i16::try_from(value).is_ok(),
            Ints::W32(_) => i32::try_from(value).is_ok(),
            Ints::W64(_) => true,
        };
        if fits {
            return;
        }
        let values = (0..self.len()).map(|at| self.get(at));
        *self = match i32::try_from(value) {
            // Narrower than `value` before, so every number fits.
            Ok(_) => Ints::W32(values.map(|value| value as i32).collect()),
            Err(_) => Ints::W64(values.collect()),
        };
    }
}

fn element_bytes<T>(_: &[T]) -> usize {
    size_of::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_sorted_while_the_array_widens() {
        let mut ints = Ints::default();
        let mut want = Vec::new();
        let steps = [5, -3, 0, 32767, -32768, 32768, i64::from(i32::MIN), 1 << 31];
        for value in steps.into_iter().chain([i64::MIN, i64::MAX, 7]) {
            ints.insert(value);
            want.push(value);
            want.sort_unstable();
            let got: Vec<i64> = (0..ints.len()).map(|at| ints.get(at)).collect();
            assert_eq!(got, want);
        }
        assert_eq!(ints.find(b"-9223372036854775808"), Some(0));
        assert_eq!(ints.find(b"+7"), None);
        assert_eq!(ints.find(b"07"), None);
        assert_eq!(ints.find(b"8"), None);
        ints.remove(0);
        assert_eq!(ints.get(0), i64::from(i32::MIN));
    }
}
