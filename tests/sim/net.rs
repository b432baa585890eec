//! The net between nodes: links that can be cut one way, messages that are lost, doubled, late.

use dse::util::rng::SplitMix64;

/// The state of all links.
#[derive(Debug)]
pub struct Net {
    /// `cut[from][to]`: until when nothing passes.
    cut: [[u64; NODES]; NODES],
    /// Until when everything takes so much longer, by direction.
    lag: [[(u64, u64); NODES]; NODES],
    /// Until when the weather is bad, and messages in a thousand that are lost then.
    storm: (u64, u64),
}

pub const NODES: usize = 3;
/// After so long a connection sends again what was lost.
const AGAIN_US: u64 = 200_000;

impl Net {
    pub fn new() -> Net {
        Net { cut: [[0; NODES]; NODES], lag: [[(0, 0); NODES]; NODES], storm: (0, 0) }
    }

    pub fn cut(&mut self, from: usize, to: usize, until: u64) {
        self.cut[from][to] = until;
    }

    /// Until then everything takes `us` longer in this direction.
    pub fn lag(&mut self, from: usize, to: usize, until: u64, us: u64) {
        self.lag[from][to] = (until, us);
    }

    fn lags(&self, now: u64, from: usize, to: usize) -> u64 {
        let (until, us) = self.lag[from][to];
        if now < until { us } else { 0 }
    }

    pub fn storm(&mut self, until: u64, lost_of_1000: u64) {
        self.storm = (until, lost_of_1000);
    }

    pub fn heal(&mut self) {
        *self = Net::new();
    }

    /// Whether bytes pass both ways.
    pub fn is_whole(&self, now: u64, from: usize, to: usize) -> bool {
        now >= self.cut[from][to] && now >= self.cut[to][from]
    }

    /// The delay after which bytes of a connection arrive: what is lost is sent again, and what is
    /// cut waits until the link is whole.
    pub fn stream_delay(&self, rng: &mut SplitMix64, now: u64, from: usize, to: usize) -> u64 {
        let is_storm = now < self.storm.0;
        let lost = rng.below(1000) < if is_storm { self.storm.1 } else { 2 };
        let again = if lost { AGAIN_US } else { 0 };
        let waits = self.cut[from][to].saturating_sub(now);
        let tried = if waits > 0 { waits + rng.below(AGAIN_US) } else { again };
        tried + delay(rng, is_storm) + self.lags(now, from, to)
    }

    /// The delays after which a message arrives: none if it is lost, two if it is doubled.
    pub fn delays(
        &self,
        rng: &mut SplitMix64,
        now: u64,
        from: usize,
        to: usize,
    ) -> [Option<u64>; 2] {
        if now < self.cut[from][to] {
            return [None, None];
        }
        let is_storm = now < self.storm.0;
        if rng.below(1000) < if is_storm { self.storm.1 } else { 2 } {
            return [None, None];
        }
        let doubled = rng.below(1000) < if is_storm { 100 } else { 5 };
        let lags = self.lags(now, from, to);
        let second = doubled.then(|| lags + delay(rng, true));
        [Some(lags + delay(rng, is_storm)), second]
    }
}

fn delay(rng: &mut SplitMix64, is_storm: bool) -> u64 {
    let usual = 100 + rng.below(400);
    match rng.below(1000) {
        // Long enough for a message to outlive the term, or the life, that it was sent in.
        0 => usual + rng.below(2_000_000),
        1..20 => usual + rng.below(30_000),
        _ if is_storm => usual + rng.below(60_000),
        _ => usual,
    }
}
