//! How far a node is with getting from others what it lost: for INFO and for the log.
//!
//! A replica that begins with nothing is filled when it is a voter of its group: it has the state,
//! and nearly all of the log. Groups are what is counted, since nobody knows here how large the
//! others are; what is still to come is guessed from how long those took that are done.

use crate::cluster::core::Node;
use crate::commands::cluster::Refilling;
use crate::limits::CLUSTER_REFILL_TOLD_US;

/// The refill that is under way, if one is.
#[derive(Default)]
pub(super) struct Refill {
    /// When it began, and how many groups were filled then.
    began: Option<(u64, u64)>,
    /// Bytes of states that came since.
    bytes: u64,
    told_us: u64,
}

impl Refill {
    /// A state of so many bytes came from another node.
    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// How far it is; `None` while nothing is to be filled.
    pub(super) fn look(&mut self, now_us: u64, core: &Node) -> Option<Refilling> {
        let groups = core.groups().count() as u64;
        let is_filled = |group: &crate::cluster::core::Group| {
            let members = group.members();
            members.voters.contains(&group.id()) && members.voters_outgoing.is_empty()
        };
        let done = core.groups().filter(|(_, group)| is_filled(group)).count() as u64;
        self.judge(now_us, groups, done)
    }

    fn judge(&mut self, now_us: u64, groups: u64, done: u64) -> Option<Refilling> {
        if done == groups {
            if let Some((began_us, _)) = self.began.take() {
                let seconds = (now_us - began_us) as f64 / 1e6;
                tracing::info!(
                    "filled again: all {groups} groups are here, {} bytes in {seconds:.1} s",
                    self.bytes
                );
            }
            self.bytes = 0;
            return None;
        }
        let (began_us, before) = *self.began.get_or_insert((now_us, done));
        let passed_us = now_us.saturating_sub(began_us);
        let gained = done.saturating_sub(before);
        let of_us =
            |us: u64, per: u64| u128::from(us) * u128::from(groups - done) / u128::from(per);
        let eta_s = (gained > 0).then(|| (of_us(passed_us, gained) / 1_000_000) as u64);
        let per_second = u128::from(self.bytes) * 1_000_000 / u128::from(passed_us.max(1));
        let refilling = Refilling {
            groups,
            done,
            bytes: self.bytes,
            bytes_per_second: per_second as u64,
            eta_s,
        };
        if now_us >= self.told_us {
            self.told_us = now_us + CLUSTER_REFILL_TOLD_US;
            let eta = eta_s.map_or("not known".into(), |seconds| format!("{seconds} s"));
            tracing::info!(
                "is filled by the others: {done} of {groups} groups, {} %, {} bytes, {per_second} \
                 bytes/s, still to go: {eta}",
                refilling.percent(),
                self.bytes
            );
        }
        Some(refilling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_come_follows_from_what_is_done() {
        let mut refill = Refill::default();
        assert_eq!(refill.judge(0, 65, 65), None, "nothing is to be filled");
        let first = refill.judge(1_000_000, 65, 1).expect("it is under way");
        assert_eq!((first.eta_s, first.percent()), (None, 1));
        refill.received(3000);
        let later = refill.judge(4_000_000, 65, 33).expect("it is under way");
        assert_eq!((later.done, later.groups, later.percent()), (33, 65, 50));
        assert_eq!((later.bytes, later.bytes_per_second, later.eta_s), (3000, 1000, Some(3)));
        assert_eq!(refill.judge(9_000_000, 65, 65), None);
        let again = refill.judge(10_000_000, 65, 0).expect("another one");
        assert_eq!((again.bytes, again.eta_s), (0, None));
    }
}
