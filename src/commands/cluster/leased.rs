//! Reads that a worker answers alone: those of groups that are led here under a lease.
//!
//! ```text
//!   lease?  read  read  read  clock?      by the look at the clock that times them
//! ```
//!
//! The lease of a group is looked at after the requests have come in and before its first read: all
//! that was answered by then is applied here, if the lease held. Whether it did, a clock that is
//! read later says, after the last read: a lease that ends later held before. The process may have
//! been stopped in between, or the leadership handed over; so the leases must hold then, too. If
//! one does not, all reads are forgotten and asked of who leads (C5). What is read in between is
//! what is applied, which only grows; so the order of a connection is kept (C17).
//!
//! Invariant: no reply of such a read leaves before [`LeasedReads::end`] has let it.

use super::{Gateway, GroupCell};
use crate::commands::dispatch::ExecutionRun;
use crate::commands::node::Node;
use crate::commands::session::ReplyMode;
use crate::limits::CLUSTER_GROUPS;
use crate::net::Io;
use crate::resp::Mark;

/// The reads that were begun since the last look at their leases.
pub(super) struct LeasedReads<'g> {
    gateway: &'g Gateway,
    /// When the first lease ends of those that were seen.
    until_us: u64,
    /// The group of the last read, and a bit for each group that was read.
    last: u16,
    groups: u64,
    /// What was before the first of them: its place in the batch, the replies, how they are wanted.
    first: Option<(usize, Mark, ReplyMode)>,
}

const _: () = assert!(CLUSTER_GROUPS <= u64::BITS as usize);
const NONE: u16 = u16::MAX;

impl<'g> LeasedReads<'g> {
    pub(super) fn new(gateway: &'g Gateway) -> LeasedReads<'g> {
        LeasedReads { gateway, until_us: u64::MAX, last: NONE, groups: 0, first: None }
    }

    /// Whether a read of this group, the request of this place in the batch, may be executed here.
    #[inline(always)]
    pub(super) fn may_begin(
        &mut self,
        run: &mut ExecutionRun<'_>,
        io: &Io<'_, Node>,
        at: usize,
        group: u16,
    ) -> bool {
        group == self.last || self.look(run, io, at, group)
    }

    /// Begins to read a group, if this node leads it under a lease. That may be over; it is told
    /// that the group is read in any case.
    fn look(
        &mut self,
        run: &mut ExecutionRun<'_>,
        io: &Io<'_, Node>,
        at: usize,
        group: u16,
    ) -> bool {
        let Some(cell) = self.leased(group) else { return false };
        self.first.get_or_insert_with(|| (at, io.out.mark(), io.session.reply_mode));
        run.set_now(cell.log_time_ms());
        true
    }

    fn leased(&mut self, group: u16) -> Option<&'g GroupCell> {
        let cell = self.gateway.group(group);
        let until_us = cell.lease_until_us();
        if until_us == 0 || self.gateway.is_strict() {
            return None;
        }
        self.until_us = self.until_us.min(until_us);
        self.gateway.note_read(group);
        self.last = group;
        self.groups |= 1 << group;
        Some(cell)
    }

    /// The replies of what was read may leave now; or else they are forgotten, and the place of the
    /// first is returned, from which on everything is to be served again.
    #[inline(always)]
    pub(super) fn end(
        &mut self,
        run: &mut ExecutionRun<'_>,
        io: &mut Io<'_, Node>,
    ) -> Option<usize> {
        let first = self.first.take()?;
        // The look that times the reads.
        let now_us = run.settle_short(io.local) / 1000;
        (!self.all_held(now_us)).then(|| self.take_back(io, now_us, first))
    }

    #[cold]
    fn take_back(
        &self,
        io: &mut Io<'_, Node>,
        now_us: u64,
        (at, mark, reply_mode): (usize, Mark, ReplyMode),
    ) -> usize {
        // Or else what is served again would begin under the same leases.
        self.gateway.end_leases(now_us);
        io.out.rollback(mark);
        io.session.reply_mode = reply_mode;
        at
    }

    /// Whether the leases that were seen held, and those of today do; forgets which groups these
    /// were.
    fn all_held(&mut self, now_us: u64) -> bool {
        self.last = NONE;
        let mut groups = std::mem::take(&mut self.groups);
        let mut all_held = now_us < std::mem::replace(&mut self.until_us, u64::MAX);
        while groups != 0 {
            all_held &= self.gateway.group(groups.trailing_zeros() as u16).may_read(now_us);
            groups &= groups - 1;
        }
        all_held
    }
}

#[cfg(test)]
mod tests {
    use super::super::lease_clock_us;
    use super::*;

    fn is_leased(reads: &mut LeasedReads<'_>, group: u16) -> bool {
        reads.leased(group).is_some()
    }

    fn gateway(leased: &[u16]) -> Gateway {
        let gateway = Gateway::new(1, 1).unwrap();
        for &group in leased {
            gateway.group(group).set_lease(lease_clock_us() + 60_000_000);
        }
        gateway
    }

    #[test]
    fn a_group_is_read_under_a_lease_and_no_other_way() {
        let gateway = gateway(&[3]);
        let mut reads = LeasedReads::new(&gateway);
        assert!(is_leased(&mut reads, 3));
        assert!(!is_leased(&mut reads, 5), "there is none");
        assert_eq!(gateway.take_read(), 1 << 3);
        assert_eq!(gateway.take_read(), 0, "it is told once");
        assert!(reads.all_held(lease_clock_us()));
        gateway.set_strict(true);
        assert!(!is_leased(&mut reads, 3), "a majority is to be asked each time");
    }

    #[test]
    fn one_lease_that_does_not_hold_to_the_end_takes_all_reads_back() {
        let gateway = gateway(&[0, 3, 63]);
        let mut reads = LeasedReads::new(&gateway);
        assert!([0, 3, 63].into_iter().all(|group| is_leased(&mut reads, group)));
        assert!(reads.all_held(lease_clock_us()));
        assert!(reads.all_held(lease_clock_us()), "nothing was read since");
        assert!([63, 0].into_iter().all(|group| is_leased(&mut reads, group)));
        gateway.group(63).set_lease(0);
        assert!(!reads.all_held(lease_clock_us()), "a transfer has ended it");
        assert!(is_leased(&mut reads, 0));
        assert!(!reads.all_held(lease_clock_us() + 61_000_000), "the process was stopped");
    }

    #[test]
    fn a_lease_that_was_over_when_it_was_seen_is_not_made_good_by_another() {
        let gateway = gateway(&[3]);
        gateway.group(4).set_lease(1);
        let mut reads = LeasedReads::new(&gateway);
        assert!(is_leased(&mut reads, 3) && is_leased(&mut reads, 4), "the clock is not asked yet");
        gateway.group(4).set_lease(lease_clock_us() + 60_000_000);
        assert!(!reads.all_held(lease_clock_us()), "others may have led in between");
        assert!(is_leased(&mut reads, 4));
        assert!(reads.all_held(lease_clock_us()), "what was over is forgotten");
    }

    #[test]
    fn leases_that_are_over_are_ended_and_others_are_not() {
        let gateway = gateway(&[3]);
        gateway.group(4).set_lease(1);
        gateway.end_leases(lease_clock_us());
        let mut reads = LeasedReads::new(&gateway);
        assert!(is_leased(&mut reads, 3));
        assert!(!is_leased(&mut reads, 4), "no worker reads in vain");
        gateway.end_leases(u64::MAX);
        assert!(!is_leased(&mut reads, 3));
    }
}
