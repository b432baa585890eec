//! The part of a cluster that clients see: from requests to groups, and back to replies.
//!
//! ```text
//!   worker:  request -> group -> leads here, lease holds?  --yes--> executed at once (reads)
//!                                        |no, or a write
//!                                        v
//!            Submission -> Gateway -> driver (a layer above) -> replies -> the connection goes on
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `serve` | a batch of requests of one connection |
//! | `leased` | reads that a worker answers alone |
//! | `split` | requests for several groups, and one reply from many |
//! | [`request`] | a request as bytes of a group's log |
//! | [`execute`] | applying them, reading, cutting and restoring the state of a group |
//! | `report` | CLUSTER and its sub-commands |
//!
//! Invariants: a connection has one submission under way, and nothing behind it is executed before
//! that is answered, so its order holds (C17); what changes the keyspace goes through the log of
//! its group and no other way; a read that a worker answers alone is checked against the lease
//! after it has read (C5).

pub mod execute;
mod leased;
pub mod report;
pub mod request;
mod serve;
mod split;

pub use serve::serve;
pub use split::{Combine, Part, WatchedSlots, combine};

use crate::limits::CLUSTER_GROUPS;
use crate::net::ConnId;
use crate::resp::Protocol;
use crate::sys::clock;
use crate::sys::eventfd::EventFd;
use crossbeam_utils::CachePadded;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Microseconds of the clock that leases are judged by: it runs while the process is stopped.
pub fn lease_clock_us() -> u64 {
    clock::boot_ns() / 1000
}

/// What workers know of one group. The driver writes, workers read; both end a lease that is over.
#[derive(Default)]
pub struct GroupCell {
    /// Until when this node may answer reads of the group alone; 0: not at all.
    lease_until_us: AtomicU64,
    /// Log time of what is applied here, ms.
    log_time_ms: AtomicU64,
    /// The node that leads, as far as is known; 0: none.
    leader: AtomicU64,
}

impl GroupCell {
    /// Until when reads may be answered here alone. All that was answered before is applied.
    pub fn set_lease(&self, until_us: u64) {
        // A look first: the line is shared, and only the driver writes it.
        if self.lease_until_us.load(Ordering::Relaxed) != until_us {
            // Release: pairs with the Acquire in `may_read`: who sees it sees what is applied.
            self.lease_until_us.store(until_us, Ordering::Release);
        }
    }

    fn end_lease(&self, now_us: u64) {
        let until_us = self.lease_until_us.load(Ordering::Relaxed);
        if until_us <= now_us && until_us > 0 {
            // A new one stays.
            let (was, none) = (until_us, 0);
            let order = Ordering::Relaxed;
            _ = self.lease_until_us.compare_exchange(was, none, order, order);
        }
    }

    /// Whether the lease holds at this moment of the lease clock.
    #[inline]
    pub fn may_read(&self, now_us: u64) -> bool {
        // Acquire: pairs with the Release in `set_lease`.
        now_us < self.lease_until_us.load(Ordering::Acquire)
    }

    /// Until when this node may answer reads alone, if that is not over; 0: not at all.
    #[inline]
    fn lease_until_us(&self) -> u64 {
        // Acquire: as in `may_read`.
        self.lease_until_us.load(Ordering::Acquire)
    }

    /// Log time of what is applied.
    #[inline]
    pub fn log_time_ms(&self) -> u64 {
        self.log_time_ms.load(Ordering::Relaxed)
    }

    /// Log time of what is applied from now on.
    pub fn set_log_time(&self, time_ms: u64) {
        self.log_time_ms.store(time_ms, Ordering::Relaxed);
    }

    /// The node that leads; 0 if none is known.
    pub fn leader(&self) -> u64 {
        self.leader.load(Ordering::Relaxed)
    }

    /// Another node leads.
    pub fn set_leader(&self, node: u64) {
        self.leader.store(node, Ordering::Relaxed);
    }
}

/// Requests of a connection that wait together.
pub struct Submission {
    /// The connection, which does nothing else meanwhile.
    pub conn: ConnId,
    /// In which protocol replies are written.
    pub protocol: Protocol,
    /// What they are combined from, in the order of the requests.
    pub places: Vec<Place>,
    /// Set once the connection has been given its replies.
    pub done: Arc<AtomicBool>,
}

/// The place of one reply.
pub struct Place {
    /// How the reply is made of those of the parts.
    pub combine: Combine,
    /// What is asked of groups.
    pub parts: Vec<Part>,
    /// The client does not want the reply.
    pub is_silent: bool,
}

/// What the whole cluster looks like from here; for CLUSTER and INFO.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Names the cluster; 0 until there is one.
    pub cluster: u64,
    /// Counts changes of the table.
    pub version: u64,
    /// The nodes, this one included, in the order of their names.
    pub nodes: Vec<NodeView>,
    /// The nodes of each data group, by their ids.
    pub replicas: Vec<Vec<u64>>,
}

/// A node as CLUSTER shows it.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// A hash of its name.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub host: String,
    /// For clients, every key.
    pub port: u16,
    /// For clients that know where keys are.
    pub redirect_port: u16,
    /// For other nodes.
    pub peer_port: u16,
    /// There is a connection to it; always so of this node.
    pub is_linked: bool,
}

/// Progress of one group, for INFO.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Whether there is a replica here.
    pub is_here: bool,
    /// Its term.
    pub term: u64,
    /// What is committed.
    pub commit: u64,
    /// What is applied.
    pub applied: u64,
}

/// How far things are that are looked at now and then, for INFO.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// How far the others are in the groups that are led here, in the order of their ids.
    pub followers: Vec<Follower>,
    /// This node gets from others what it lost.
    pub refilling: Option<Refilling>,
    /// Bytes of the node's log, and beyond which it is made shorter.
    pub log_bytes: u64,
    /// The same as a bound.
    pub log_bytes_most: u64,
    /// The group whose entries are the oldest that the log is kept for; 64 is the meta group.
    pub log_pinned_by: Option<u16>,
    /// How often everything was stated anew so that the log could become shorter.
    pub log_shortened: u64,
}

/// How far another node is in the groups that are led here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Follower {
    /// Which node.
    pub node: u64,
    /// Groups that are led here and that it holds.
    pub groups: u64,
    /// Groups of these in which it lacks entries.
    pub behind: u64,
    /// Entries that it lacks, in all of them.
    pub entries: u64,
    /// Groups of which it is being sent a snapshot.
    pub snapshots: u64,
}

/// How far a node is with being filled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refilling {
    /// Groups that it is to hold.
    pub groups: u64,
    /// Groups that it has.
    pub done: u64,
    /// Bytes of states that came.
    pub bytes: u64,
    /// The same for each second.
    pub bytes_per_second: u64,
    /// Seconds that it still takes, if that can be guessed.
    pub eta_s: Option<u64>,
}

impl Refilling {
    /// Groups that it has, of a hundred.
    pub fn percent(&self) -> u64 {
        self.done * 100 / self.groups.max(1)
    }
}

/// Where workers and the driver meet.
pub struct Gateway {
    /// This node.
    pub me: u64,
    /// The port that answers where keys are.
    pub redirect_port: u16,
    groups: Box<[CachePadded<GroupCell>; CLUSTER_GROUPS]>,
    /// A bit for each group that workers have read since the driver looked.
    read: CachePadded<AtomicU64>,
    inbox: Mutex<Vec<Submission>>,
    bell: EventFd,
    view: Mutex<Arc<View>>,
    progress: Mutex<Vec<Progress>>,
    status: Mutex<Status>,
    /// Reads ask a majority each time (`read-mode strict`).
    is_strict: AtomicBool,
    /// The node is to lead all that it holds (`CLUSTER FAILOVER`).
    takes_over: AtomicBool,
    /// The node is about to end.
    is_ending: AtomicBool,
}

impl Gateway {
    /// A gateway of node `me`. An error if the system has no descriptor left.
    pub fn new(me: u64, redirect_port: u16) -> io::Result<Gateway> {
        Ok(Gateway {
            me,
            redirect_port,
            groups: Box::new(std::array::from_fn(|_| CachePadded::default())),
            read: CachePadded::default(),
            inbox: Mutex::default(),
            bell: EventFd::new()?,
            view: Mutex::default(),
            progress: Mutex::new(vec![Progress::default(); CLUSTER_GROUPS]),
            status: Mutex::default(),
            is_strict: AtomicBool::new(false),
            takes_over: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
        })
    }

    /// A group, below [`CLUSTER_GROUPS`].
    #[inline]
    pub fn group(&self, group: u16) -> &GroupCell {
        // The remainder is the number itself; with it no bound is to be compared.
        &self.groups[usize::from(group) % CLUSTER_GROUPS]
    }

    /// Leases that are over at this moment of the lease clock are none: nobody begins to read under
    /// them in vain.
    pub fn end_leases(&self, now_us: u64) {
        self.groups.iter().for_each(|cell| cell.end_lease(now_us));
    }

    /// A group is read under its lease.
    #[inline]
    fn note_read(&self, group: u16) {
        let bit = 1 << group;
        // A look first: the line is shared.
        if self.read.load(Ordering::Relaxed) & bit == 0 {
            self.read.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// The groups that were read since the last call, a bit for each.
    pub fn take_read(&self) -> u64 {
        match self.read.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.read.swap(0, Ordering::Relaxed),
        }
    }

    /// Whether every group has a leader, as far as this node knows.
    pub fn knows_leaders(&self) -> bool {
        self.groups.iter().all(|group| group.leader() != 0)
    }

    /// Rung when the driver is to look.
    pub fn bell(&self) -> &EventFd {
        &self.bell
    }

    /// Hands requests to the driver.
    pub fn submit(&self, submission: Submission) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = inbox.is_empty();
        inbox.push(submission);
        drop(inbox);
        if was_empty {
            // It refuses only when rung 2^64 - 2 times, and then it is rung.
            let _ = self.bell.ring();
        }
    }

    /// What was submitted since the last call.
    pub fn take(&self) -> Vec<Submission> {
        std::mem::take(&mut self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How the cluster looks.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The cluster looks different now.
    pub fn set_view(&self, view: View) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// How far the groups are.
    pub fn progress(&self) -> Vec<Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// These groups are further now.
    pub fn set_progress(&self, groups: impl Iterator<Item = (u16, Progress)>) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        groups.for_each(|(group, of_group)| progress[usize::from(group)] = of_group);
    }

    /// How far things are.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Things are further now.
    pub fn set_status(&self, status: Status) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Asks the driver to have this node lead all that it holds.
    pub fn take_over(&self) {
        self.takes_over.store(true, Ordering::Relaxed);
        // It refuses only when rung 2^64 - 2 times, and then it is rung.
        let _ = self.bell.ring();
    }

    /// Whether that was asked for since the last call.
    pub fn was_told_to_take_over(&self) -> bool {
        self.takes_over.load(Ordering::Relaxed) && self.takes_over.swap(false, Ordering::Relaxed)
    }

    /// Asks the driver to hand over and end.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
        // It refuses only when rung 2^64 - 2 times, and then it is rung.
        let _ = self.bell.ring();
    }

    /// Whether the driver was asked to end.
    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }

    /// Whether reads ask a majority each time.
    pub fn is_strict(&self) -> bool {
        self.is_strict.load(Ordering::Relaxed)
    }

    /// Reads ask a majority each time, or rely on leases.
    pub fn set_strict(&self, is_strict: bool) {
        self.is_strict.store(is_strict, Ordering::Relaxed);
    }
}
