//! Reads that a worker answers alone: those of groups that are led here under a lease.
//!
//! ```text
//!   lease?  read  read  read  lease?      the clock is read twice for all of them
//! ```
//!
//! A lease is looked at after the requests have come in and before the first read of its group, and
//! once more after the last one: the process may have been stopped in between, and another node may
//! lead by now. Then all of them are forgotten and asked of who leads (C5). What is read in between
//! is what is applied, which only grows; so the order of a connection is kept (C17).
//!
//! Invariant: no reply of such a read leaves before [`LeasedReads::end`] has let it.

use super::{Gateway, lease_clock_us};
use crate::commands::dispatch::ExecutionRun;
use crate::commands::node::Node;
use crate::commands::session::ReplyMode;
use crate::limits::CLUSTER_GROUPS;
use crate::net::Io;
use crate::resp::Mark;

/// The reads that were begun since the last look at their leases.
pub(super) struct LeasedReads<'g> {
    gateway: &'g Gateway,
    /// When the batch was begun; 0 if nobody asked yet.
    now_us: u64,
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
        LeasedReads { gateway, now_us: 0, last: NONE, groups: 0, first: None }
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

    fn look(
        &mut self,
        run: &mut ExecutionRun<'_>,
        io: &Io<'_, Node>,
        at: usize,
        group: u16,
    ) -> bool {
        let is_leased = self.is_leased(group);
        if is_leased {
            self.first.get_or_insert_with(|| (at, io.out.mark(), io.session.reply_mode));
            run.set_now(self.gateway.group(group).log_time_ms());
        }
        is_leased
    }

    /// Whether this node leads a group under a lease that holds; notes that it is read if so.
    fn is_leased(&mut self, group: u16) -> bool {
        let cell = self.gateway.group(group);
        if self.gateway.is_strict() || !cell.is_leased() {
            return false;
        }
        if self.now_us == 0 {
            self.now_us = lease_clock_us();
        }
        if !cell.may_read(self.now_us) {
            return false;
        }
        self.gateway.note_read(group);
        self.last = group;
        self.groups |= 1 << group;
        true
    }

    /// The replies of what was read may leave now; or else they are forgotten, and the place of the
    /// first is returned, from which on everything is to be served again.
    #[inline]
    pub(super) fn end(&mut self, io: &mut Io<'_, Node>) -> Option<usize> {
        let (at, mark, reply_mode) = self.first.take()?;
        if self.all_hold(lease_clock_us()) {
            return None;
        }
        io.out.rollback(mark);
        io.session.reply_mode = reply_mode;
        Some(at)
    }

    /// Whether the leases of all groups that were read hold still; forgets which these were.
    fn all_hold(&mut self, now_us: u64) -> bool {
        self.last = NONE;
        let mut groups = std::mem::take(&mut self.groups);
        while groups != 0 {
            if !self.gateway.group(groups.trailing_zeros() as u16).may_read(now_us) {
                return false;
            }
            groups &= groups - 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(leased: &[u16]) -> Gateway {
        let gateway = Gateway::new(1, 1).unwrap();
        for &group in leased {
            gateway.group(group).set_lease(lease_clock_us() + 60_000_000);
        }
        gateway
    }

    #[test]
    fn a_group_is_read_under_a_lease_that_holds_and_no_other_way() {
        let gateway = gateway(&[3]);
        gateway.group(4).set_lease(1);
        let mut reads = LeasedReads::new(&gateway);
        assert!(reads.is_leased(3));
        assert!(!reads.is_leased(4), "it is over");
        assert!(!reads.is_leased(5), "there is none");
        assert_eq!(gateway.take_read(), 1 << 3);
        assert_eq!(gateway.take_read(), 0, "it is told once");
        gateway.set_strict(true);
        assert!(!reads.is_leased(3), "a majority is to be asked each time");
    }

    #[test]
    fn one_lease_that_does_not_hold_to_the_end_takes_all_reads_back() {
        let gateway = gateway(&[0, 3, 63]);
        let mut reads = LeasedReads::new(&gateway);
        assert!([0, 3, 63].into_iter().all(|group| reads.is_leased(group)));
        assert!(reads.all_hold(lease_clock_us()));
        assert!(reads.all_hold(u64::MAX), "nothing was read since");
        assert!([63, 0].into_iter().all(|group| reads.is_leased(group)));
        gateway.group(63).set_lease(0);
        assert!(!reads.all_hold(lease_clock_us()), "a transfer has ended it");
        assert!(reads.is_leased(0));
        assert!(!reads.all_hold(lease_clock_us() + 61_000_000), "the process was stopped");
    }
}
