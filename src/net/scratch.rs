//! Buffers that a worker lends to the connection whose turn it is.

use crate::limits::{
    BATCH_COMMANDS, REPLY_BUFFER_KEPT, REPLY_BUFFERS_SPARE, REPLY_SPARE_BYTES, TURN_BYTES,
};
use crate::resp::{ParseLimits, Request, Step};

/// Buffers that a worker lends to the connection whose turn it is.
pub struct RequestScratch {
    /// Input is received into the second half. The first is for the beginning of a request that
    /// the connection keeps, so that the two lie together.
    pub(super) read: Box<[u8]>,
    /// For replies.
    pub(super) replies: ReplyBuffers,
    pub(super) requests: Vec<Request>,
    pub(super) starts: [usize; BATCH_COMMANDS],
}

impl RequestScratch {
    /// Empty buffers.
    #[allow(clippy::new_without_default)] // 256 KiB: not to be made by accident
    pub fn new() -> RequestScratch {
        RequestScratch {
            read: vec![0; 2 * TURN_BYTES].into_boxed_slice(),
            replies: ReplyBuffers::default(),
            requests: (0..BATCH_COMMANDS).map(|_| Request::new()).collect(),
            starts: [0; BATCH_COMMANDS],
        }
    }
}

/// Buffers for replies. One stays with a connection only while that has unsent ones: as long as
/// replies wait for the log, that is one for each connection that has written in this round.
#[derive(Default)]
pub(super) struct ReplyBuffers {
    /// One that may have grown.
    large: Vec<u8>,
    /// Short ones, at most [`REPLY_BUFFERS_SPARE`].
    spare: Vec<Vec<u8>>,
}

impl ReplyBuffers {
    /// An empty buffer, with memory if there is one at hand.
    pub(super) fn take(&mut self) -> Vec<u8> {
        if self.large.capacity() > 0 {
            return std::mem::take(&mut self.large);
        }
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps an empty buffer for the next connection, or gives its memory back.
    pub(super) fn put(&mut self, buffer: Vec<u8>) {
        match buffer.capacity() {
            0 => {}
            1..=REPLY_SPARE_BYTES if self.spare.len() < REPLY_BUFFERS_SPARE => {
                self.spare.push(buffer);
            }
            bytes if bytes <= REPLY_BUFFER_KEPT && bytes > self.large.capacity() => {
                self.large = buffer;
            }
            _ => {}
        }
    }
}

/// What [`RequestScratch::parse`] found.
pub(super) struct Parsed {
    /// Complete requests, from the first place on.
    pub(super) count: usize,
    /// What ended the parse, unless it is the number of requests or the end of the input.
    pub(super) step: Option<Step>,
}

impl RequestScratch {
    /// Parses up to `most` requests of `input` from `at` on, which moves behind each complete
    /// one. The progress of an incomplete one lies in place `count`.
    pub(super) fn parse(
        &mut self,
        input: &[u8],
        at: &mut usize,
        mut resumed: bool,
        most: usize,
        limits: &ParseLimits,
    ) -> Parsed {
        let mut count = 0;
        while count < most && (*at < input.len() || resumed) {
            let request = &mut self.requests[count];
            if !std::mem::take(&mut resumed) {
                request.reset();
            }
            match request.parse(&input[*at..], limits) {
                Step::Complete => {
                    self.starts[count] = *at;
                    *at += request.consumed();
                    count += 1;
                }
                Step::Empty => *at += request.consumed(),
                step => return Parsed { count, step: Some(step) },
            }
        }
        Parsed { count, step: None }
    }

    pub(super) fn move_to_front(&mut self, place: usize) {
        if place < self.requests.len() {
            self.requests.swap(0, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_for_replies_are_used_again_within_their_bounds() {
        let mut replies = ReplyBuffers::default();
        assert_eq!(replies.take().capacity(), 0);
        for _ in 0..2 * REPLY_BUFFERS_SPARE {
            replies.put(Vec::with_capacity(100));
        }
        assert_eq!(replies.spare.len(), REPLY_BUFFERS_SPARE);
        assert_eq!(replies.large.capacity(), 100, "one more is kept in the place of the large one");
        for bytes in [REPLY_BUFFER_KEPT + 1, REPLY_BUFFER_KEPT, REPLY_SPARE_BYTES + 1] {
            replies.put(Vec::with_capacity(bytes));
        }
        assert_eq!(replies.take().capacity(), REPLY_BUFFER_KEPT, "the largest that may be kept");
        let kept = (0..).take_while(|_| replies.take().capacity() > 0).count();
        assert_eq!(kept, REPLY_BUFFERS_SPARE);
    }
}
