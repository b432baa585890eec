//! The ordered queue of a connection's unsent replies, with the gate that holds them back.
//!
//! Small replies are copied into one buffer; a large value is queued by reference and leaves
//! by `writev`. Each reply may carry `after`, the LSN that must be released before it leaves;
//! a later reply never overtakes an earlier one.
//!
//! ```text
//!   buf    |sent|......reply bytes......|......reply bytes......|
//!                                       ^ large[0] goes out here
//!   gates  bytes before gates[0].end leave once gates[0].after is released
//! ```

use crate::limits::OUTPUT_COMPACT_MIN;
use std::collections::VecDeque;

mod held;

/// A large value that is sent from where it lies.
pub trait LargeReply: Send {
    /// The bytes to send.
    fn bytes(&self) -> &[u8];
}

struct Large {
    /// Offset in `buf` in front of which these bytes are sent.
    at: usize,
    sent: usize,
    value: Box<dyn LargeReply>,
}

struct Gate {
    /// Offset in `buf` up to which (exclusive) this gate holds replies.
    end: usize,
    larges: usize,
    after: u64,
}

/// Unsent replies in order.
#[derive(Default)]
pub struct OutQueue {
    buf: Vec<u8>,
    sent: usize,
    large: VecDeque<Large>,
    large_bytes: usize,
    gates: VecDeque<Gate>,
}

/// A place in the queue that [`OutQueue::rollback`] can return to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    buf: usize,
    larges: usize,
}

impl OutQueue {
    /// The buffer that replies are appended to.
    #[inline]
    pub fn buf_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buf
    }

    /// Queues a large value by reference, behind everything appended so far.
    pub fn push_large(&mut self, value: Box<dyn LargeReply>) {
        self.large_bytes += value.bytes().len();
        self.large.push_back(Large { at: self.buf.len(), sent: 0, value });
    }

    /// Holds everything appended since the last gate until `after` is released. If that is
    /// nothing, the last gate waits for `after` too; without unsent bytes there is no gate.
    pub fn gate(&mut self, after: u64) {
        if self.is_empty() {
            return;
        }
        let (end, larges) = (self.buf.len(), self.large.len());
        if let Some(last) = self.gates.back_mut() {
            if last.end == end && last.larges == larges {
                last.after = last.after.max(after);
                return;
            }
            // Replies leave in order, so a later gate never opens before an earlier one.
            if last.after >= after {
                last.end = end;
                last.larges = larges;
                return;
            }
        }
        self.gates.push_back(Gate { end, larges, after });
    }

    /// Lets what was appended before `mark`, and is held by no gate yet, leave at once: a gate
    /// that is set later does not reach back behind it.
    pub fn free_before(&mut self, mark: Mark) {
        let behind = |last: &Gate| last.end < mark.buf || last.larges < mark.larges;
        if self.gates.back().is_none_or(behind) && mark.buf > self.sent {
            self.gates.push_back(Gate { end: mark.buf, larges: mark.larges, after: 0 });
        }
    }

    /// Unsent bytes, large values included.
    #[inline]
    pub fn len(&self) -> usize {
        self.buf.len() - self.sent + self.large_bytes
    }

    /// True when nothing is left to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.buf.len() == self.sent && self.large.is_empty()
    }

    /// Bytes of memory held, without the large values (they belong to the store).
    pub fn heap_bytes(&self) -> usize {
        self.buf.capacity()
    }

    /// The LSN that the first held reply waits for, if the head of the queue is held.
    pub fn held_by(&self, released: u64) -> Option<u64> {
        self.gates.front().filter(|gate| gate.after > released).map(|gate| gate.after)
    }

    /// Where the queue ends now.
    pub fn mark(&self) -> Mark {
        Mark { buf: self.buf.len(), larges: self.large.len() }
    }

    /// Forgets what was appended since `mark` (nothing of it may have been gated or sent).
    pub fn rollback(&mut self, mark: Mark) {
        debug_assert!(self.gates.back().is_none_or(|gate| gate.end <= mark.buf));
        self.buf.truncate(mark.buf);
        while self.large.len() > mark.larges {
            if let Some(large) = self.large.pop_back() {
                self.large_bytes -= large.value.bytes().len() - large.sent;
            }
        }
    }

    /// All that is unsent, if that is one piece which nothing holds.
    #[inline]
    pub fn plain(&self) -> Option<&[u8]> {
        let is_plain = self.large.is_empty() && self.gates.is_empty();
        if is_plain { Some(&self.buf[self.sent..]) } else { None }
    }

    /// The next sendable pieces in order, at most `N`; only what `released` lets go.
    pub fn pieces<const N: usize>(&self, released: u64) -> ([&[u8]; N], usize) {
        let (end, larges) = self.sendable(released);
        let mut pieces: [&[u8]; N] = [&[]; N];
        let mut count = 0;
        let mut at = self.sent;
        let mut push = |piece| {
            if count < N && !<[u8]>::is_empty(piece) {
                pieces[count] = piece;
                count += 1;
            }
        };
        for large in self.large.iter().take(larges.min(N)) {
            push(&self.buf[at..large.at]);
            push(&large.value.bytes()[large.sent..]);
            at = large.at;
        }
        if larges <= N {
            push(&self.buf[at..end]);
        }
        (pieces, count)
    }

    /// `bytes` were sent.
    pub fn consume(&mut self, mut bytes: usize) {
        debug_assert!(bytes <= self.len());
        if self.plain().is_some_and(|unsent| unsent.len() == bytes) {
            self.buf.clear();
            self.sent = 0;
            return;
        }
        let mut larges_done = 0;
        while let Some(large) = self.large.front_mut() {
            let before = (large.at - self.sent).min(bytes);
            self.sent += before;
            bytes -= before;
            if self.sent < large.at {
                break;
            }
            let rest = large.value.bytes().len() - large.sent;
            let took = rest.min(bytes);
            large.sent += took;
            self.large_bytes -= took;
            bytes -= took;
            if took < rest {
                break;
            }
            self.large.pop_front();
            larges_done += 1;
        }
        self.sent += bytes;
        self.drop_passed_gates(larges_done);
        self.compact();
    }

    /// Forgets all replies; the buffer stays.
    pub fn reset(&mut self) {
        let mut buf = std::mem::take(&mut self.buf);
        buf.clear();
        *self = OutQueue { buf, ..OutQueue::default() };
    }

    /// Lends a buffer to a queue that has none.
    pub fn lend(&mut self, buffer: Vec<u8>) {
        debug_assert!(buffer.is_empty() && self.is_empty());
        if self.buf.capacity() == 0 {
            self.buf = buffer;
            self.sent = 0;
        }
    }

    /// Takes the buffer of an empty queue.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        debug_assert!(self.is_empty());
        let mut buffer = std::mem::take(&mut self.buf);
        buffer.clear();
        self.sent = 0;
        buffer
    }

    /// Offset in `buf` and number of large values that may leave.
    fn sendable(&self, released: u64) -> (usize, usize) {
        if self.gates.is_empty() {
            return (self.buf.len(), self.large.len());
        }
        let mut limit = (self.sent, 0);
        for gate in &self.gates {
            if gate.after > released {
                return limit;
            }
            limit = (gate.end, gate.larges);
        }
        (self.buf.len(), self.large.len())
    }

    fn drop_passed_gates(&mut self, larges_done: usize) {
        for gate in &mut self.gates {
            gate.larges = gate.larges.saturating_sub(larges_done);
        }
        let sent = self.sent;
        while self.gates.front().is_some_and(|gate| gate.end <= sent && gate.larges == 0) {
            self.gates.pop_front();
        }
        if self.is_empty() {
            self.gates.clear();
        }
    }

    /// Moves the unsent bytes to the front once the sent part outweighs them.
    fn compact(&mut self) {
        if self.sent == self.buf.len() && self.large.is_empty() {
            self.buf.clear();
            self.sent = 0;
        } else if self.sent >= OUTPUT_COMPACT_MIN && self.sent > self.buf.len() / 2 {
            self.buf.drain(..self.sent);
            for large in &mut self.large {
                large.at -= self.sent;
            }
            for gate in &mut self.gates {
                gate.end = gate.end.saturating_sub(self.sent);
            }
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    struct Value(Vec<u8>);
    impl LargeReply for Value {
        fn bytes(&self) -> &[u8] {
            &self.0
        }
    }

    fn drain(queue: &mut OutQueue, released: u64, step: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        loop {
            let mut took = 0;
            {
                let (pieces, count) = queue.pieces::<3>(released);
                for piece in &pieces[..count] {
                    let n = piece.len().min(step - took);
                    sent.extend_from_slice(&piece[..n]);
                    took += n;
                }
            }
            if took == 0 {
                return sent;
            }
            queue.consume(took);
        }
    }

    #[test]
    fn large_values_leave_in_their_place_whatever_a_send_takes() {
        for step in 1..40 {
            let mut queue = OutQueue::default();
            let mut want = Vec::new();
            for i in 0..20u8 {
                queue.buf_mut().extend_from_slice(&[b'a' + i; 3]);
                want.extend_from_slice(&[b'a' + i; 3]);
                if i % 3 == 0 {
                    queue.push_large(Box::new(Value(vec![b'0' + i; 17])));
                    want.extend_from_slice(&[b'0' + i; 17]);
                }
            }
            assert_eq!(queue.len(), want.len());
            assert_eq!(drain(&mut queue, 0, step), want, "step {step}");
            assert!(queue.is_empty());
        }
    }

    #[test]
    fn a_gate_holds_its_reply_and_all_behind_it() {
        let mut queue = OutQueue::default();
        queue.buf_mut().extend_from_slice(b"one");
        queue.gate(0);
        queue.buf_mut().extend_from_slice(b"two");
        queue.push_large(Box::new(Value(b"LARGE".to_vec())));
        queue.gate(10);
        queue.buf_mut().extend_from_slice(b"three");
        queue.gate(5);
        assert_eq!(drain(&mut queue, 0, 100), b"one");
        assert_eq!(queue.held_by(0), Some(10));
        assert_eq!(drain(&mut queue, 9, 100), b"");
        assert_eq!(drain(&mut queue, 10, 2), b"twoLARGEthree");
        assert!(queue.is_empty());
    }

    #[test]
    fn what_came_before_a_held_reply_leaves_alone() {
        let mut queue = OutQueue::default();
        queue.buf_mut().extend_from_slice(b"read");
        let mark = queue.mark();
        queue.buf_mut().extend_from_slice(b"written");
        queue.free_before(mark);
        queue.gate(7);
        assert_eq!(drain(&mut queue, 0, 2), b"read");
        queue.buf_mut().extend_from_slice(b"later");
        let mark = queue.mark();
        queue.buf_mut().extend_from_slice(b"again");
        queue.free_before(mark);
        queue.gate(9);
        assert_eq!(drain(&mut queue, 6, 100), b"");
        assert_eq!(drain(&mut queue, 8, 100), b"writtenlater");
        assert_eq!(drain(&mut queue, 9, 100), b"again");
    }

    #[test]
    fn rollback_forgets_replies_and_large_values() {
        let mut queue = OutQueue::default();
        queue.buf_mut().extend_from_slice(b"kept");
        let mark = queue.mark();
        queue.buf_mut().extend_from_slice(b"dropped");
        queue.push_large(Box::new(Value(b"LARGE".to_vec())));
        queue.rollback(mark);
        assert_eq!(queue.len(), 4);
        assert_eq!(drain(&mut queue, 0, 100), b"kept");
    }

    #[test]
    fn a_gate_without_a_reply_of_its_own() {
        let mut queue = OutQueue::default();
        queue.gate(7);
        queue.buf_mut().extend_from_slice(b"free");
        assert_eq!(drain(&mut queue, 0, 100), b"free");
        queue.buf_mut().extend_from_slice(b"held");
        queue.gate(8);
        queue.gate(9);
        assert_eq!(drain(&mut queue, 8, 100), b"");
        assert_eq!(drain(&mut queue, 9, 100), b"held");
    }

    /// Random replies, gates, rollbacks and sends beside a plain list of bytes.
    #[test]
    fn any_sequence_sends_the_same_bytes_as_a_plain_list() {
        let seed = 0x00e0_u64;
        let mut rng = SplitMix64::new(seed);
        let (mut queue, mut model) = (OutQueue::default(), Model::default());
        let mut next = 0u8;
        for step in 0..200_000 {
            let released = model.released;
            match rng.below(8) {
                0..=2 => {
                    let mark = queue.mark();
                    let len_max = if rng.below(50) == 0 { 100_000 } else { 20 };
                    let bytes = vec![next; rng.below(len_max) as usize];
                    next = next.wrapping_add(1);
                    if rng.below(3) == 0 {
                        queue.push_large(Box::new(Value(bytes.clone())));
                    } else {
                        queue.buf_mut().extend_from_slice(&bytes);
                    }
                    if rng.below(8) == 0 {
                        queue.rollback(mark);
                    } else {
                        model.bytes.extend(bytes.iter().map(|&byte| (byte, 0)));
                    }
                }
                3 if model.gated < model.bytes.len() => {
                    let after = released + rng.below(4);
                    queue.gate(after);
                    model.gate(after);
                }
                3 | 4 => model.released += rng.below(3),
                _ => {
                    let (pieces, count) = queue.pieces::<8>(released);
                    let sent = pieces[..count].concat();
                    let want = model.sendable();
                    let context = format!("step {step}, seed {seed:#x}");
                    assert_eq!(sent, want[..sent.len()], "{context}");
                    assert!(count == 8 || sent.len() == want.len(), "{context}");
                    let took = rng.below(sent.len() as u64 + 1) as usize;
                    queue.consume(took);
                    model.bytes.drain(..took);
                    model.gated = model.gated.saturating_sub(took);
                }
            }
            assert_eq!(queue.len(), model.bytes.len(), "step {step}, seed {seed:#x}");
        }
    }

    /// Each unsent byte with the LSN it waits for.
    #[derive(Default)]
    struct Model {
        bytes: Vec<(u8, u64)>,
        gated: usize,
        released: u64,
    }

    impl Model {
        fn gate(&mut self, after: u64) {
            for (_, waits_for) in &mut self.bytes[self.gated..] {
                *waits_for = after;
            }
            self.gated = self.bytes.len();
        }

        fn sendable(&self) -> Vec<u8> {
            let free = self.bytes.iter().take_while(|(_, after)| *after <= self.released);
            free.map(|(byte, _)| *byte).collect()
        }
    }
}
