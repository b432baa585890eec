//! Percentiles in the text form of HdrHistogram, which its plotter and others read.

use hdrhistogram::Histogram;
use std::fmt::Write;

/// Steps in which each half of the distance to 100 % is cut.
const STEPS_PER_HALF: u32 = 5;

/// The distribution of latencies in ns, printed in milliseconds.
pub fn text(histogram: &Histogram<u64>) -> String {
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let ms = |ns: f64| ns / 1e6;
    let mut count = 0;
    for step in histogram.iter_quantiles(STEPS_PER_HALF) {
        let (value, share) = (ms(step.value_iterated_to() as f64), step.quantile_iterated_to());
        count += step.count_since_last_iteration();
        if share < 1.0 {
            // A String takes everything.
            _ = writeln!(out, "{value:12.6} {share:14.12} {count:10} {:14.2}", 1.0 / (1.0 - share));
        } else {
            _ = writeln!(out, "{value:12.6} {share:14.12} {count:10}");
        }
    }
    let (mean, deviation) = (ms(histogram.mean()), ms(histogram.stdev()));
    _ = writeln!(out, "#[Mean    = {mean:12.6}, StdDeviation   = {deviation:12.6}]");
    let (max, total) = (ms(histogram.max() as f64), histogram.len());
    _ = writeln!(out, "#[Max     = {max:12.6}, Total count    = {total:12}]");
    let (buckets, sub) = (histogram.buckets(), 1u64 << 11);
    _ = writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {sub:12}]");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_grow_up_to_the_total() {
        let mut histogram = crate::bench::client::run::empty_histogram();
        (1..=1000u64).for_each(|ms| histogram.saturating_record(ms * 1_000_000));
        let text = text(&histogram);
        let rows = text.lines().skip(2).filter(|line| !line.starts_with('#'));
        let counts: Vec<u64> = rows
            .map(|row| row.split_ascii_whitespace().nth(2).expect("three columns"))
            .map(|count| count.parse().expect("a number"))
            .collect();
        assert!(counts.is_sorted(), "{counts:?}");
        assert_eq!(counts.last(), Some(&1000));
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
