//! Who is faster, or that it cannot be told.
//!
//! Servers are compared round by round: the machine's moods fall on both sides of a ratio. The
//! *gap* of two servers is how far the median of these ratios is from 1, their *spread* how far
//! the largest ratio is from the smallest. A spread as large as the gap is no ranking, and neither
//! are fewer than three rounds.
//!
//! Both distances are factors (logarithms, so that half as fast is as far as twice as fast).

use super::document::{Cell, Run, ServerResult, median};

/// Rounds below which nobody is ranked.
const ROUNDS_MIN: usize = 3;
/// From this many rounds on, one in eight at each end is left out of the spread.
const TRIM_FROM: usize = 8;

/// How one server did beside the base.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Median of the rounds' ratios; above 1 is better than the base.
    pub median: f64,
    /// Smallest of the ratios that count.
    pub low: f64,
    /// Largest of the ratios that count.
    pub high: f64,
    /// Rounds that could be compared.
    pub rounds: usize,
}

/// What can be said of two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server is better than the base.
    Better,
    /// The base is better.
    Worse,
    /// It cannot be told.
    Open,
}

/// What is compared: larger is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Requests a second.
    Throughput,
    /// Requests for each unit of the server's processor time.
    Cpu,
}

impl Measure {
    fn of(self, run: &Run) -> Option<f64> {
        match self {
            Measure::Throughput => Some(run.rps),
            Measure::Cpu => run.server_cpu_ns.map(|ns| 1.0 / ns),
        }
        .filter(|value| *value > 0.0 && value.is_finite())
    }
}

impl Ratio {
    /// The ratio of `server` to `base`; `None` if no round has both.
    pub fn of(base: &ServerResult, server: &ServerResult, measure: Measure) -> Option<Ratio> {
        let rounds = base.runs.iter().zip(&server.runs);
        let both = rounds.filter_map(|(b, s)| Some(measure.of(s)? / measure.of(b)?));
        Ratio::from_rounds(both.collect())
    }

    fn from_rounds(mut ratios: Vec<f64>) -> Option<Ratio> {
        let (rounds, median) = (ratios.len(), median(&mut ratios)?);
        let trim = if rounds >= TRIM_FROM { rounds / 8 } else { 0 };
        let (low, high) = (ratios[trim], ratios[rounds - trim - 1]);
        Some(Ratio { median, low, high, rounds })
    }

    /// How far the two are apart, as a logarithm.
    pub fn gap(&self) -> f64 {
        self.median.ln().abs()
    }

    /// How far the rounds are apart, as a logarithm.
    pub fn spread(&self) -> f64 {
        (self.high / self.low).ln()
    }

    /// What can be said.
    pub fn verdict(&self) -> Verdict {
        match () {
            () if self.rounds < ROUNDS_MIN || self.spread() >= self.gap() => Verdict::Open,
            () if self.median > 1.0 => Verdict::Better,
            () => Verdict::Worse,
        }
    }
}

/// A sentence for each server beside the base, in order.
pub fn sentences(cell: &Cell, measure: Measure) -> Vec<String> {
    let Some((base, others)) = cell.results.split_first() else { return Vec::new() };
    let what = match measure {
        Measure::Throughput => "throughput",
        Measure::Cpu => "processor time",
    };
    let sentence = |server: &ServerResult| {
        let ratio = Ratio::of(base, server, measure)?;
        let (name, other) = (&server.server, &base.server);
        let Ratio { median, low, high, rounds } = ratio;
        let figures = format!("x{median:.3}, from x{low:.3} to x{high:.3} in {rounds} rounds");
        Some(match ratio.verdict() {
            Verdict::Better => format!("{what}: {name} is ahead of {other} ({figures})"),
            Verdict::Worse => format!("{what}: {name} is behind {other} ({figures})"),
            Verdict::Open => format!("{what}: {name} and {other} are not ranked ({figures})"),
        })
    };
    others.iter().filter_map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(name: &str, rps: &[f64]) -> ServerResult {
        let run = |rps: &f64| Run { rps: *rps, ..Run::default() };
        ServerResult {
            server: name.into(),
            runs: rps.iter().map(run).collect(),
            ..ServerResult::default()
        }
    }

    fn verdict(base: &[f64], server: &[f64]) -> Verdict {
        let (base, server) = (result("a", base), result("b", server));
        Ratio::of(&base, &server, Measure::Throughput).expect("rounds").verdict()
    }

    #[test]
    fn a_spread_as_large_as_the_gap_is_no_ranking() {
        assert_eq!(verdict(&[100.0, 100.0, 100.0], &[120.0, 121.0, 122.0]), Verdict::Better);
        assert_eq!(verdict(&[100.0, 100.0, 100.0], &[80.0, 81.0, 82.0]), Verdict::Worse);
        assert_eq!(verdict(&[100.0, 100.0, 100.0], &[95.0, 105.0, 120.0]), Verdict::Open);
        assert_eq!(verdict(&[100.0, 100.0], &[200.0, 200.0]), Verdict::Open, "two rounds");
    }

    #[test]
    fn what_falls_on_both_sides_of_a_round_does_not_count() {
        assert_eq!(verdict(&[100.0, 50.0, 200.0], &[110.0, 55.1, 221.0]), Verdict::Better);
    }

    #[test]
    fn of_many_rounds_the_outermost_are_left_out() {
        let base = [100.0; 16];
        let mut server = [120.0; 16];
        (server[0], server[1], server[2], server[3]) = (10.0, 900.0, 11.0, 800.0);
        assert_eq!(verdict(&base, &server), Verdict::Better);
        server[4] = 12.0;
        assert_eq!(verdict(&base, &server), Verdict::Open);
    }

    #[test]
    fn sentences_name_both_servers() {
        let results = vec![result("redis", &[1.0; 3]), result("dse", &[2.0; 3])];
        let cell = Cell { results, ..Cell::default() };
        let said = sentences(&cell, Measure::Throughput);
        assert!(said[0].starts_with("throughput: dse is ahead of redis"), "{said:?}");
        assert!(sentences(&cell, Measure::Cpu).is_empty(), "nobody's processor time is known");
    }
}
