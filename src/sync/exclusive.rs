//! The sequence that makes a change of several keys visible as a whole.
//!
//! A writer that publishes more than once raises it (odd = up) on every shard it holds before
//! the first publication and lowers it after the last. A reader of one key looks at it after its
//! *previous* command's slot load, and takes the lock if it is up; a reader of several keys
//! notes it, reads, and asks whether it is unchanged.
//!
//! The argument, for a client that first saw a new k1 and then reads k2: its Acquire load of k1
//! saw a publication that came after the raise, so its look at k2's sequence sees it up (and
//! waits) or already lowered, and then (Acquire on the Release of the lowering) the new k2.
//!
//! It is one load of a line that is otherwise never written.
//!
//! It also counts *moves*: whoever changed what leads to entries (split a segment, doubled a
//! directory, took a table away) publishes that first and then adds two. So what a reader found on
//! its way after it had noted the sequence is still the way while the sequence is unchanged: had
//! anything been stored behind a move that the reader did not follow, whoever saw that would see
//! the sequence moved on too.

use super::primitive::{AtomicU64, Ordering, Site, fence, ordering, skips};
use Ordering::{Acquire, Relaxed, Release};

/// The sequence of one shard. Changed only by the holder of the shard's writer lock.
#[derive(Debug)]
pub struct ExclusiveSeq(AtomicU64);

impl Default for ExclusiveSeq {
    fn default() -> ExclusiveSeq {
        ExclusiveSeq::new()
    }
}

impl ExclusiveSeq {
    /// A sequence that is down.
    pub fn new() -> ExclusiveSeq {
        ExclusiveSeq(AtomicU64::new(0))
    }

    /// Announces that several publications follow. It must be down.
    pub fn raise(&self) {
        let before = self.0.load(Relaxed);
        debug_assert_eq!(before % 2, 0, "raised twice");
        self.0.store(before + 1, Relaxed);
        if !skips(Site::ExclusiveRaise) {
            // Release: pairs with the reader's Acquire of any later publication (or with the
            // Acquire fence in `unchanged`), even if the publication itself is Relaxed.
            fence(Release);
        }
    }

    /// Announces that all is published. It must be up.
    pub fn lower(&self) {
        let before = self.0.load(Relaxed);
        debug_assert_eq!(before % 2, 1, "lowered without a raise");
        // Release: pairs with the Acquire in `check`.
        self.0.store(before + 1, Release);
    }

    /// Announces that what leads to entries was changed, and that this is published.
    pub fn moved(&self) {
        // Release: pairs with the Acquire in `check`; who sees it finds the new way.
        self.0.store(self.0.load(Relaxed) + 2, ordering(Site::ExclusiveMoved, Release));
    }

    /// The sequence, to be validated by [`unchanged`](Self::unchanged); `None` while it is up.
    #[inline(always)]
    pub fn check(&self) -> Option<u64> {
        // Acquire: pairs with the Release in `lower`.
        let seen = self.0.load(ordering(Site::ExclusiveCheck, Acquire));
        seen.is_multiple_of(2).then_some(seen)
    }

    /// Whether it is what [`check`](Self::check) returned, and so still down and nothing moved.
    #[inline(always)]
    pub fn is_still(&self, seen: u64) -> bool {
        // Acquire: pairs with the Release in `lower` and `moved`.
        self.0.load(ordering(Site::ExclusiveCheck, Acquire)) == seen
    }

    /// Whether no raise came in between, for everything read since `seen` was noted.
    #[inline(always)]
    pub fn unchanged(&self, seen: u64) -> bool {
        // Acquire: pairs with the Release fence in `raise` through the data read.
        fence(Acquire);
        self.0.load(Relaxed) == seen
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_is_up_between_raise_and_lower() {
        let seq = ExclusiveSeq::new();
        let seen = seq.check().expect("it is down at first");
        assert!(seq.unchanged(seen));
        seq.raise();
        assert_eq!(seq.check(), None);
        assert!(!seq.unchanged(seen));
        seq.lower();
        assert!(!seq.unchanged(seen));
        let seen = seq.check().expect("it is down again");
        assert!(seq.unchanged(seen));
    }
}
