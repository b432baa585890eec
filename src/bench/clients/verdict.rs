//! Figures held against bounds, in a line each.

use crate::bench::progress::println;
use crate::bench::report::document::{Cell, Run};

/// Says whether a bound was kept.
pub(super) fn verdict(what: &str, is_met: bool) {
    println(&format!("  {what}: {}", if is_met { "met" } else { "MISSED" }));
}

/// Says how many answers were right, and that all must be.
pub(super) fn verdict_on_answers(cells: &[&Cell]) {
    let sum = |of: fn(&Run) -> u64| cells.iter().flat_map(|cell| runs(cell)).map(of).sum::<u64>();
    let (answers, errors, wrong) = (sum(|r| r.requests), sum(|r| r.errors), sum(|r| r.wrong));
    let what = format!("{answers} answers checked, {wrong} wrong, {errors} errors");
    verdict(&what, wrong + errors == 0);
}

/// The runs of a cell for one server.
pub(super) fn runs(cell: &Cell) -> impl Iterator<Item = &Run> {
    cell.results.iter().flat_map(|result| &result.runs)
}

/// The median of the runs' 99th percentiles, ms.
pub(super) fn p99_ms(cell: &Cell) -> f64 {
    median(runs(cell).map(|run| run.latency.p99)) / 1e3
}

/// Of each round, how often the second's 99th percentile goes into the first's.
pub(super) fn ratios_of_p99(one: &Cell, other: &Cell) -> impl Iterator<Item = f64> {
    runs(one).zip(runs(other)).map(|(one, other)| one.latency.p99 / other.latency.p99)
}

/// The middle one; 0 of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Bytes as MiB.
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([1.0].into_iter()), 1.0);
        assert_eq!(median(std::iter::empty()), 0.0);
    }
}
