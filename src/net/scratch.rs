//! Buffers that a worker lends to the connection whose turn it is.

use crate::limits::{BATCH_COMMANDS, TURN_BYTES};
use crate::resp::{ParseLimits, Request, Step};

/// Buffers that a worker lends to the connection whose turn it is.
pub struct RequestScratch {
    /// Input is received into the second half. The first is for the beginning of a request that
    /// the connection keeps, so that the two lie together.
    pub(super) read: Box<[u8]>,
    /// A buffer for replies. It stays with a connection only while that has unsent ones.
    pub(super) replies: Vec<u8>,
    pub(super) requests: Vec<Request>,
    pub(super) starts: [usize; BATCH_COMMANDS],
}

impl RequestScratch {
    /// Empty buffers.
    #[allow(clippy::new_without_default)] // 256 KiB: not to be made by accident
    pub fn new() -> RequestScratch {
        RequestScratch {
            read: vec![0; 2 * TURN_BYTES].into_boxed_slice(),
            replies: Vec::new(),
            requests: (0..BATCH_COMMANDS).map(|_| Request::new()).collect(),
            starts: [0; BATCH_COMMANDS],
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
