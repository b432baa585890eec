//! Renders requests, many for one send.
//!
//! A load of one template is laid out once, as often as one send takes, and only its holes are
//! written again for each send. A mix, and anything that is verified, is put together anew.

use super::keys::{Keys, Numbers};
use super::model::{Expected, Model};
use super::suite::Check;
use super::template::{Hole, HoleKind, Tag, Template, put_number};
use crate::limits::BENCH_SEND_BYTES;
use std::collections::VecDeque;

/// A kind of request, and how much of the load it is.
#[derive(Clone, Debug)]
pub struct Op {
    /// The request.
    pub template: Template,
    /// What is known about its reply.
    pub check: Check,
    /// Its share of the load, relative to the others. Those of weight 0 are sent once for each
    /// number before a verified run, so that the model knows what is there.
    pub weight: u64,
}

/// Renders the requests of one thread.
pub struct Builder {
    ops: Vec<Op>,
    weights: u64,
    numbers: Numbers,
    /// Rendered requests.
    bytes: Vec<u8>,
    /// Requests that one send takes.
    per_send: usize,
}

/// For whom requests are rendered.
pub struct Recipient<'a> {
    /// The tags that its node serves, in cluster mode.
    pub tags: &'a [Tag],
    /// What it wrote before, if replies are verified, and what it waits for.
    pub verify: Option<(&'a mut Model, &'a mut VecDeque<Expected>)>,
}

impl Builder {
    /// A builder of requests of these kinds (one at least) for thread `index` of `threads`.
    pub fn new(ops: Vec<Op>, keys: Keys, seed: u64, index: usize, threads: usize) -> Builder {
        let longest = ops.iter().map(|op| op.template.bytes.len()).max().unwrap_or(1).max(1);
        let per_send = (BENCH_SEND_BYTES / longest).max(1);
        let bytes = if let [op] = &ops[..] { op.template.bytes.repeat(per_send) } else { vec![] };
        let weights = ops.iter().map(|op| op.weight).sum();
        Builder { ops, weights, numbers: Numbers::new(keys, seed, index, threads), bytes, per_send }
    }

    /// Renders up to `count` requests, at least one, and returns their bytes and how many.
    #[inline]
    pub fn render(&mut self, count: usize, recipient: Recipient<'_>) -> (&[u8], usize) {
        let count = count.min(self.per_send);
        match (&self.ops[..], recipient.verify) {
            ([op], None) => {
                let len = op.template.bytes.len();
                for request in self.bytes.chunks_exact_mut(len).take(count) {
                    fill(request, &op.template.holes, &mut self.numbers, recipient.tags);
                }
                (&self.bytes[..count * len], count)
            }
            (_, None) => {
                self.bytes.clear();
                for _ in 0..count {
                    let op = self.pick();
                    let start = self.bytes.len();
                    let template = &self.ops[op].template;
                    self.bytes.extend_from_slice(&template.bytes);
                    let request = &mut self.bytes[start..];
                    fill(request, &template.holes, &mut self.numbers, recipient.tags);
                }
                (&self.bytes, count)
            }
            (_, Some((model, expected))) => {
                self.bytes.clear();
                for _ in 0..count {
                    let op = self.pick();
                    let number = model.number(self.numbers.draw());
                    self.checked(op, number, recipient.tags, model, expected);
                }
                (&self.bytes, count)
            }
        }
    }

    /// Renders what brings the connection's own number `draw` into a state that its model knows.
    /// Returns the bytes and how many requests they are.
    pub fn render_fill(&mut self, draw: u64, recipient: Recipient<'_>) -> (&[u8], usize) {
        self.bytes.clear();
        let mut count = 0;
        if let Some((model, expected)) = recipient.verify {
            let number = model.number(draw);
            for op in 0..self.ops.len() {
                if self.ops[op].weight == 0 {
                    self.checked(op, number, recipient.tags, model, expected);
                    count += 1;
                }
            }
        }
        (&self.bytes, count)
    }

    /// How many requests [`Builder::render_fill`] gives each time.
    pub fn fills(&self) -> usize {
        self.ops.iter().filter(|op| op.weight == 0).count()
    }

    fn checked(
        &mut self,
        op: usize,
        number: u64,
        tags: &[Tag],
        model: &mut Model,
        expected: &mut VecDeque<Expected>,
    ) {
        let Op { template, check, .. } = &self.ops[op];
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&template.bytes);
        let request = &mut self.bytes[start..];
        for hole in &template.holes {
            match hole.kind {
                HoleKind::Number => put(request, hole, number),
                // A number stays on the slot that it was first sent to.
                HoleKind::Tag => put_tag(request, hole, tags, number),
            }
        }
        let data = template.data.clone().map(|range| &mut request[range]);
        expected.push_back(model.send(*check, number, data));
    }

    /// The kind of the next request, by chance.
    fn pick(&mut self) -> usize {
        if self.ops.len() == 1 {
            return 0;
        }
        let mut at = self.numbers.rng.below(self.weights);
        for (index, op) in self.ops.iter().enumerate() {
            match at.checked_sub(op.weight) {
                Some(rest) => at = rest,
                None => return index,
            }
        }
        0
    }
}

#[inline]
fn fill(request: &mut [u8], holes: &[Hole], numbers: &mut Numbers, tags: &[Tag]) {
    for hole in holes {
        match hole.kind {
            HoleKind::Number => {
                let number = numbers.draw();
                put(request, hole, number);
            }
            HoleKind::Tag => {
                let any = numbers.rng.next_u64();
                put_tag(request, hole, tags, any);
            }
        }
    }
}

#[inline]
fn put(request: &mut [u8], hole: &Hole, number: u64) {
    if let Some(place) = request[hole.at..].first_chunk_mut() {
        put_number(place, number);
    }
}

fn put_tag(request: &mut [u8], hole: &Hole, tags: &[Tag], choice: u64) {
    if let (Some(place), false) = (request[hole.at..].first_chunk_mut(), tags.is_empty()) {
        *place = tags[(choice % tags.len() as u64) as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(words: &[&str], check: Check, weight: u64) -> Op {
        let args: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        Op { template: Template::new(&args, b"xxxxxxxx", false), check, weight }
    }

    fn get(weight: u64) -> Op {
        op(&["GET", "key:__rand_int__"], Check::Get, weight)
    }

    fn set(weight: u64) -> Op {
        op(&["SET", "key:__rand_int__", "__data__"], Check::Set, weight)
    }

    fn nobody<'a>() -> Recipient<'a> {
        Recipient { tags: &[], verify: None }
    }

    #[test]
    fn numbers_differ_within_a_send_and_between_sends() {
        let mut builder = Builder::new(vec![get(1)], Keys::InOrder, 1, 0, 1);
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (bytes, count) = builder.render(3, nobody());
            assert_eq!(count, 3);
            let text = String::from_utf8_lossy(bytes).into_owned();
            seen.extend(text.split("key:").skip(1).map(|rest| rest[..12].to_owned()));
        }
        let wanted: Vec<String> = (0..6).map(|number| format!("{number:012}")).collect();
        assert_eq!(seen, wanted);
    }

    #[test]
    fn a_send_is_bounded_and_never_empty() {
        let big = "x".repeat(BENCH_SEND_BYTES);
        let mut builder =
            Builder::new(vec![op(&["ECHO", &big], Check::NoError, 1)], Keys::One, 1, 0, 1);
        assert_eq!(builder.render(100, nobody()).1, 1);
        let mut builder = Builder::new(vec![get(1)], Keys::Uniform(9), 1, 0, 1);
        let (bytes, count) = builder.render(1_000_000, nobody());
        assert!(bytes.len() <= BENCH_SEND_BYTES && count > 1000);
    }

    #[test]
    fn a_mix_keeps_its_ratio() {
        let mut builder = Builder::new(vec![set(1), get(3)], Keys::Uniform(100), 5, 0, 1);
        let (mut sets, mut all) = (0, 0);
        while all < 20_000 {
            let (bytes, count) = builder.render(200, nobody());
            sets += bytes.windows(3).filter(|window| window == b"SET").count();
            all += count;
        }
        let share = sets as f64 / all as f64;
        assert!((0.23..0.27).contains(&share), "{share}");
    }

    #[test]
    fn what_is_verified_is_expected_in_order() {
        let (mut model, mut expected) = (Model::new(0, 1, 4, 8), VecDeque::new());
        let mut builder = Builder::new(vec![set(1), get(1)], Keys::Uniform(100), 5, 0, 1);
        let recipient = Recipient { tags: &[], verify: Some((&mut model, &mut expected)) };
        let text = String::from_utf8_lossy(builder.render(50, recipient).0).into_owned();
        let verbs: Vec<bool> = text
            .split("\r\n")
            .filter_map(|line| match line {
                "SET" => Some(true),
                "GET" => Some(false),
                _ => None,
            })
            .collect();
        let wanted: Vec<bool> = expected.iter().map(|one| *one == Expected::Ok).collect();
        assert_eq!(verbs, wanted);
        for number in text.split("key:").skip(1).map(|rest| &rest[..12]) {
            assert!(number.parse::<u64>().expect("digits") < 4, "{number}");
        }
    }
}
