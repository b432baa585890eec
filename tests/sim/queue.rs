//! What is going to happen, in the order of its time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// What happens.
pub enum Event {
    Tick {
        node: usize,
        life: u64,
    },
    /// A tick that was missed while the node was stopped.
    Late {
        node: usize,
        life: u64,
    },
    /// A word of a replica that travels alone.
    Stray {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
        is_damaged: bool,
    },
    /// Bytes of a connection.
    Packet {
        from: usize,
        to: usize,
        conn: u64,
        bytes: Vec<u8>,
    },
    /// A node looks whether it can connect to another one.
    Dial {
        caller: usize,
        called: usize,
    },
    /// A node learns that the other end of a connection is closed.
    Closed {
        node: usize,
        other: usize,
        conn: u64,
    },
    /// A node restarts, and is cut off from one that leads.
    Forget {
        leader: usize,
        node: usize,
    },
    /// A node that has handed its groups over ends.
    End {
        node: usize,
        life: u64,
    },
    Synced {
        node: usize,
        life: u64,
    },
    Apply {
        node: usize,
        life: u64,
        group: usize,
    },
    /// The driver looks at what connections handed in.
    Flush {
        node: usize,
        life: u64,
    },
    /// A worker that was held up goes on with a read.
    Worker {
        node: usize,
        life: u64,
        client: usize,
        batch: u64,
    },
    Start {
        node: usize,
    },
    Client(usize),
    Timeout {
        client: usize,
        batch: u64,
    },
    /// A disk works again.
    Mend {
        node: usize,
    },
    /// All connections of a node break.
    Break {
        node: usize,
    },
    /// A node is not heard until then.
    Silence {
        node: usize,
        until: u64,
    },
    Fault,
    Manage,
}

/// Events by their time; those of one time in the order in which they were scheduled.
#[derive(Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
}

impl Queue {
    pub fn push(&mut self, time: u64, event: Event) {
        self.scheduled += 1;
        self.heap.push(Reverse(Scheduled(time, self.scheduled, event)));
    }

    /// The next event, if it happens by `end`.
    pub fn pop_until(&mut self, end: u64) -> Option<(u64, Event)> {
        self.heap.peek().filter(|Reverse(next)| next.0 <= end)?;
        self.heap.pop().map(|Reverse(Scheduled(time, _, event))| (time, event))
    }
}

/// An event with its time, and a number by which those of one time are ordered.
struct Scheduled(u64, u64, Event);

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}
