//! Numbers with a Zipf distribution: number k comes up in proportion to 1 / (k+1)^s.
//!
//! Rejection-inversion (Hörmann and Derflinger, 1996): constant memory for any range, about one
//! draw for each number, exact.

use crate::util::rng::SplitMix64;

/// The distribution over `0..count` with a given exponent.
#[derive(Clone, Debug)]
pub struct Zipf {
    count: f64,
    exponent: f64,
    /// The integral of the hat at 1.5, less 1: where number 0 begins.
    low: f64,
    /// The integral of the hat at count + 0.5.
    high: f64,
    /// Within this distance a candidate is taken without looking closer.
    sure: f64,
}

impl Zipf {
    /// Over `count` (at least 1) numbers, with `exponent` above 0.
    pub fn new(count: u64, exponent: f64) -> Zipf {
        let mut zipf =
            Zipf { count: count.max(1) as f64, exponent, low: 0.0, high: 0.0, sure: 0.0 };
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.high = zipf.integral(zipf.count + 0.5);
        zipf.sure = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    /// One number.
    #[inline]
    pub fn sample(&self, rng: &mut SplitMix64) -> u64 {
        loop {
            let area = self.high + rng.next_f64() * (self.low - self.high);
            let x = self.inverse(area);
            let rank = x.round().clamp(1.0, self.count);
            let close = rank - x <= self.sure;
            if close || area >= self.integral(rank + 0.5) - self.weight(rank) {
                return rank as u64 - 1;
            }
        }
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of `weight` from 1 to `x`.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        expm1_over((1.0 - self.exponent) * log) * log
    }

    fn inverse(&self, area: f64) -> f64 {
        // Rounding can push the argument below -1, where the logarithm ends.
        let t = (area * (1.0 - self.exponent)).max(-1.0);
        (ln1p_over(t) * area).exp()
    }
}

/// (e^x - 1) / x, also near 0.
fn expm1_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 }
}

/// ln(1 + x) / x, also near 0.
fn ln1p_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_up_in_proportion_to_their_weight() {
        for exponent in [0.5, 0.99, 1.0, 1.5] {
            let (count, draws) = (100u64, 400_000u32);
            let zipf = Zipf::new(count, exponent);
            let mut rng = SplitMix64::new(11);
            let mut seen = vec![0u32; count as usize];
            for _ in 0..draws {
                seen[zipf.sample(&mut rng) as usize] += 1;
            }
            let weight = |k: usize| ((k + 1) as f64).powf(-exponent);
            let sum: f64 = (0..count as usize).map(weight).sum();
            for k in [0, 1, 2, 9, 49] {
                let wanted = f64::from(draws) * weight(k) / sum;
                let got = f64::from(seen[k]);
                let slack = 5.0 * wanted.sqrt();
                assert!((got - wanted).abs() < slack, "s={exponent} k={k}: {got} {wanted}");
            }
        }
    }

    #[test]
    fn a_range_of_one_has_one_number() {
        let mut rng = SplitMix64::new(1);
        let zipf = Zipf::new(1, 0.99);
        assert!((0..1000).all(|_| zipf.sample(&mut rng) == 0));
        let zipf = Zipf::new(1 << 40, 0.99);
        assert!((0..1000).all(|_| zipf.sample(&mut rng) < 1 << 40));
    }
}
