//! Replies that will never leave become errors.
//!
//! The bytes behind a gate are whole replies. When what they wait for will not come, each of them
//! is replaced by an error, so that the client has as many answers as it has asked questions, in
//! their order. Pushes answer nothing, and are dropped.

use super::{Gate, OutQueue};

impl OutQueue {
    /// True when something may be held.
    #[inline]
    pub fn is_gated(&self) -> bool {
        !self.gates.is_empty()
    }

    /// Replaces every reply that waits for more than `released` by `error`, a whole reply. False
    /// if what is queued makes no sense as replies; then nothing was changed.
    pub fn fail_held(&mut self, released: u64, error: &[u8]) -> bool {
        let Some(first) = self.gates.iter().position(|gate| gate.after > released) else {
            return true;
        };
        let (start, larges_before) = match first.checked_sub(1).map(|before| &self.gates[before]) {
            Some(Gate { end, larges, .. }) => (*end, *larges),
            None => (self.sent, 0),
        };
        let (end, larges_end) =
            self.gates.back().map_or((start, 0), |gate| (gate.end, gate.larges));
        let held = self.large.range(larges_before..larges_end);
        let larges = held.map(|large| (large.at, large.value.bytes().len())).collect();
        let walk = Walk { bytes: &self.buf[..end], at: start, larges, next_large: 0 };
        let Some(count) = walk.replies() else { return false };
        let errors = error.repeat(count);
        for large in self.large.drain(larges_before..larges_end) {
            self.large_bytes -= large.value.bytes().len();
        }
        for large in self.large.range_mut(larges_before..) {
            large.at = large.at - (end - start) + errors.len();
        }
        self.buf.splice(start..end, errors);
        self.gates.truncate(first);
        true
    }
}

/// A walk over replies as they will be on the wire.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where bulks go out that do not lie in the bytes, and how long they are.
    larges: Vec<(usize, usize)>,
    next_large: usize,
}

impl Walk<'_> {
    /// Replies up to the end of the bytes; `None` if they do not end there.
    fn replies(mut self) -> Option<usize> {
        let mut count = 0;
        while self.at < self.bytes.len() {
            count += usize::from(self.bytes[self.at] != b'>');
            self.skip_one()?;
        }
        (self.at == self.bytes.len() && self.next_large == self.larges.len()).then_some(count)
    }

    /// Passes one value with all that is in it.
    fn skip_one(&mut self) -> Option<()> {
        let mut left: u64 = 1;
        while left > 0 {
            left -= 1;
            let rest = self.bytes.get(self.at..)?;
            let line_end = rest.windows(2).position(|pair| pair == b"\r\n")?;
            let (kind, line) = rest[..line_end].split_first()?;
            self.at += line_end + 2;
            let length = || std::str::from_utf8(line).ok()?.parse::<i64>().ok();
            match kind {
                b'$' | b'=' | b'!' => {
                    if let Ok(bytes) = usize::try_from(length()?) {
                        self.skip_bulk(bytes)?;
                    }
                }
                b'*' | b'~' | b'>' => left += u64::try_from(length()?).unwrap_or(0),
                b'%' => left += 2 * u64::try_from(length()?).unwrap_or(0),
                // Attributes stand in front of the value they belong to.
                b'|' => left += 2 * u64::try_from(length()?).unwrap_or(0) + 1,
                _ => {}
            }
        }
        Some(())
    }

    fn skip_bulk(&mut self, bytes: usize) -> Option<()> {
        match self.larges.get(self.next_large) {
            Some((at, len)) if *at == self.at => {
                self.next_large += 1;
                if *len != bytes {
                    return None;
                }
            }
            _ => self.at += bytes,
        }
        self.at += 2;
        (self.at <= self.bytes.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::LargeReply;
    use super::*;

    struct Bytes(&'static [u8]);

    impl LargeReply for Bytes {
        fn bytes(&self) -> &[u8] {
            self.0
        }
    }

    fn all(queue: &OutQueue) -> String {
        let (pieces, count) = queue.pieces::<32>(u64::MAX);
        String::from_utf8_lossy(&pieces[..count].concat()).into_owned()
    }

    const ERROR: &[u8] = b"-MISCONF x\r\n";

    #[test]
    fn each_held_reply_becomes_one_error_and_the_others_stay() {
        let replies: [&[u8]; 9] = [
            b"+OK\r\n",
            b":17\r\n",
            b"$5\r\n+a\r\n*\r\n",
            b"$-1\r\n",
            b"*2\r\n$1\r\nx\r\n*1\r\n:1\r\n",
            b"%1\r\n+k\r\n~2\r\n:1\r\n:2\r\n",
            b"*0\r\n",
            b"|1\r\n+a\r\n+b\r\n$0\r\n\r\n",
            b"_\r\n",
        ];
        for held in 0..replies.len() {
            let mut queue = OutQueue::default();
            queue.buf_mut().extend_from_slice(b"+free\r\n");
            queue.free_before(queue.mark());
            for reply in &replies[held..] {
                queue.buf_mut().extend_from_slice(reply);
            }
            queue.gate(9);
            queue.buf_mut().extend_from_slice(b"+behind\r\n");
            assert!(queue.fail_held(8, ERROR));
            let errors = "-MISCONF x\r\n".repeat(replies.len() - held);
            assert_eq!(all(&queue), format!("+free\r\n{errors}+behind\r\n"));
            assert_eq!(queue.held_by(0), None);
        }
    }

    #[test]
    fn large_values_in_front_and_behind_are_sent_and_those_held_are_not() {
        let mut queue = OutQueue::default();
        let large = |queue: &mut OutQueue, value: &'static [u8]| {
            queue.buf_mut().extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
            queue.push_large(Box::new(Bytes(value)));
            queue.buf_mut().extend_from_slice(b"\r\n");
        };
        large(&mut queue, b"front");
        queue.free_before(queue.mark());
        queue.buf_mut().extend_from_slice(b"*2\r\n");
        large(&mut queue, b"held\r\n:1\r\n");
        large(&mut queue, b"held");
        queue.gate(5);
        large(&mut queue, b"behind");
        assert!(queue.fail_held(4, ERROR));
        assert_eq!(all(&queue), "$5\r\nfront\r\n-MISCONF x\r\n$6\r\nbehind\r\n");
        assert_eq!(queue.len(), all(&queue).len());
    }

    #[test]
    fn pushes_are_dropped_and_what_is_released_stays() {
        let mut queue = OutQueue::default();
        queue.buf_mut().extend_from_slice(b":1\r\n");
        queue.gate(3);
        queue.buf_mut().extend_from_slice(b">2\r\n+message\r\n+x\r\n:2\r\n");
        queue.gate(7);
        assert!(queue.fail_held(3, ERROR));
        assert_eq!(all(&queue), ":1\r\n-MISCONF x\r\n");
        assert!(queue.fail_held(3, ERROR));
        assert_eq!(all(&queue), ":1\r\n-MISCONF x\r\n", "once is enough");
    }

    #[test]
    fn what_is_no_reply_is_left_as_it_is() {
        for bytes in [&b"$5\r\nab\r\n"[..], b"*2\r\n:1\r\n", b"+OK", b"$x\r\n\r\n"] {
            let mut queue = OutQueue::default();
            queue.buf_mut().extend_from_slice(bytes);
            queue.gate(3);
            assert!(!queue.fail_held(0, ERROR));
            assert_eq!(all(&queue).as_bytes(), bytes);
        }
    }
}
