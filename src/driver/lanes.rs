//! Requests on their way: which wait, which are with a group here, which are with another node.
//!
//! ```text
//!   submission of a connection -> a lane for each of its groups, in order
//!   lane:  waiting -> here (this node leads)    -> ended
//!             ^ `---> there (another one leads) -'
//!             `------ what was refused with proof, for 1.5 s
//! ```
//!
//! A lane that waits goes on when it is known that another node leads its group than the one that
//! refused it, or that there is a connection to who leads it ([`Lanes::look_again`],
//! [`Lanes::retry`]). Time alone ([`Lanes::tick`]) is for what nobody tells.
//!
//! A lane keeps the order of its requests: writes go into the log one behind the other, a read that
//! follows a write waits until that is applied, and what follows a read waits for it (C17). Once a
//! request of a lane was refused, none behind it is begun: what is left is tried again as a whole,
//! where the leader is then.
//!
//! Invariants: a write is proposed once, or sent once, and what was sent and not answered is
//! uncertain (C18, C19). Deliberately absent: sockets and the consensus; what is to be done comes
//! out as [`Wish`]es.

mod lane;
mod wake;

use crate::cluster::wire::message::{End, Replies, Requests};
use crate::commands::cluster::{Combine, Submission, combine};
use crate::limits::{CLUSTER_PARK_US, CLUSTER_RETRY_US, PEER_LANE_BYTES_MAX, PEER_LANES_MAX};
use crate::net::ConnId;
use crate::resp::Protocol;
use lane::{Item, Lane, Origin, State};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type NodeId = u64;
type LaneId = u64;
/// By which the consensus names a request.
type Ticket = u64;

/// Where the leader of a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leader {
    /// Nobody knows.
    Unknown,
    /// This node.
    Here,
    /// A node that there is a connection to.
    There(NodeId),
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Wish {
    /// Propose this write, with its ticket.
    Write(u16, Ticket, Arc<[u8]>),
    /// Tell when reads of this group may be answered, by the ticket.
    Read(u16, Ticket),
    /// Send requests to a node; if that cannot be, say so by [`Lanes::not_sent`].
    Send(NodeId, Requests),
    /// Send replies to a node.
    Reply(NodeId, Replies),
    /// Give a connection its replies, and let it go on.
    Answer(ConnId, Vec<u8>, Arc<AtomicBool>),
}

struct Waiter {
    conn: ConnId,
    protocol: Protocol,
    places: Vec<WaitingPlace>,
    lanes: usize,
    done: Arc<AtomicBool>,
}

struct WaitingPlace {
    combine: Combine,
    is_silent: bool,
    replies: Vec<Vec<u8>>,
}

/// Items of a submission for one group, with their places and parts.
type Parts = (Vec<Item>, Vec<(usize, usize)>);

/// Makes the reply to a read of a group.
pub type Reading<'a> = dyn FnMut(u16, &[u8], Protocol) -> Vec<u8> + 'a;

/// Reads that were begun together: which items of which lanes.
type Reads = Vec<(LaneId, Range<usize>)>;

/// All requests that are not answered.
pub struct Lanes {
    waiters: HashMap<u64, Waiter>,
    lanes: BTreeMap<LaneId, Lane>,
    writes: HashMap<Ticket, (LaneId, usize)>,
    reads: HashMap<Ticket, Reads>,
    /// Reads that begin together at the next [`Lanes::take_wishes`].
    next_reads: BTreeMap<u16, Reads>,
    sent: HashMap<u64, LaneId>,
    /// Lanes that began to wait since [`Lanes::look_again`].
    parked: Vec<LaneId>,
    /// Lanes of other nodes, and the bytes of their requests.
    remote: (usize, usize),
    /// Names of waiters, lanes and tickets; of what is sent, with an offset of this life.
    counter: u64,
    life: u64,
    wishes: Vec<Wish>,
}

impl Lanes {
    /// None yet. `life` is drawn by chance, so that nothing that is said of a former life is taken
    /// for an answer.
    pub fn new(life: u64) -> Lanes {
        Lanes {
            waiters: HashMap::new(),
            lanes: BTreeMap::new(),
            writes: HashMap::new(),
            reads: HashMap::new(),
            next_reads: BTreeMap::new(),
            sent: HashMap::new(),
            parked: Vec::new(),
            remote: (0, 0),
            counter: 0,
            life,
            wishes: Vec::new(),
        }
    }

    fn fresh(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Requests that are open.
    pub fn count(&self) -> usize {
        self.lanes.len()
    }

    /// What is to be done.
    pub fn take_wishes(&mut self) -> Vec<Wish> {
        for (group, reads) in std::mem::take(&mut self.next_reads) {
            let ticket = self.fresh();
            self.reads.insert(ticket, reads);
            self.wishes.push(Wish::Read(group, ticket));
        }
        std::mem::take(&mut self.wishes)
    }

    /// A connection hands in requests.
    pub fn submit(&mut self, now_us: u64, submission: Submission, leader: &impl Fn(u16) -> Leader) {
        let Submission { conn, protocol, places, done } = submission;
        let waiter = self.fresh();
        let mut by_group: BTreeMap<u16, Parts> = BTreeMap::new();
        let mut waiting = Vec::with_capacity(places.len());
        for (place, one) in places.into_iter().enumerate() {
            let replies = vec![Vec::new(); one.parts.len()];
            let (combine, is_silent) = (one.combine, one.is_silent);
            waiting.push(WaitingPlace { combine, is_silent, replies });
            for (number, part) in one.parts.into_iter().enumerate() {
                let (items, refs) = by_group.entry(part.group).or_default();
                items.push(Item { is_write: part.is_write, bytes: part.bytes.into(), end: None });
                refs.push((place, number));
            }
        }
        let lanes = by_group.len();
        self.waiters.insert(waiter, Waiter { conn, protocol, places: waiting, lanes, done });
        for (group, (items, refs)) in by_group {
            let origin = Origin::Here(waiter, refs);
            self.begin(now_us, group, protocol, origin, items, leader);
        }
    }

    /// Another node hands in requests.
    pub fn receive(
        &mut self,
        now_us: u64,
        from: NodeId,
        requests: Requests,
        leader: &impl Fn(u16) -> Leader,
    ) {
        let bytes: usize = requests.items.iter().map(|(_, bytes)| bytes.len()).sum();
        let (lanes, of_lanes) = self.remote;
        if lanes >= PEER_LANES_MAX || of_lanes.saturating_add(bytes) > PEER_LANE_BYTES_MAX {
            let items = vec![End::Refused; requests.items.len()];
            return self.wishes.push(Wish::Reply(from, Replies { id: requests.id, items }));
        }
        self.remote = (lanes + 1, of_lanes + bytes);
        let protocol = if requests.protocol == 3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let item =
            |(is_write, bytes): (bool, Vec<u8>)| Item { is_write, bytes: bytes.into(), end: None };
        let items = requests.items.into_iter().map(item).collect();
        let origin = Origin::There(from, requests.id);
        self.begin(now_us, requests.group, protocol, origin, items, leader);
    }

    fn begin(
        &mut self,
        now_us: u64,
        group: u16,
        protocol: Protocol,
        origin: Origin,
        items: Vec<Item>,
        leader: &impl Fn(u16) -> Leader,
    ) {
        let id = self.fresh();
        let state = State::Waiting(now_us);
        let (began_us, tried, is_stopped) = (now_us, Leader::Unknown, false);
        let lane = Lane { group, protocol, origin, items, state, tried, began_us, is_stopped };
        self.lanes.insert(id, lane);
        self.start(now_us, id, leader);
    }

    /// Sends a lane that waits on its way, if there is one.
    fn start(&mut self, now_us: u64, id: LaneId, leader: &impl Fn(u16) -> Leader) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let from = lane.items.iter().position(|item| item.end.is_none());
        let from = from.unwrap_or(lane.items.len());
        lane.is_stopped = false;
        let is_remote = matches!(lane.origin, Origin::There(..));
        lane.tried = leader(lane.group);
        match lane.tried {
            Leader::Here => {
                lane.state = State::Here { next: from, open: 0, since_us: now_us };
                self.advance(now_us, id);
            }
            Leader::There(node) if !is_remote => {
                let items = lane.items[from..].iter();
                let items = items.map(|item| (item.is_write, item.bytes.to_vec())).collect();
                let protocol = if lane.protocol == Protocol::Resp3 { 3 } else { 2 };
                let group = lane.group;
                let sent = self.fresh().wrapping_add(self.life);
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.state = State::There { node, id: sent, from, since_us: now_us };
                }
                self.sent.insert(sent, id);
                let requests = Requests { id: sent, group, protocol, items };
                self.wishes.push(Wish::Send(node, requests));
            }
            // Who sent it knows better, or will.
            _ if is_remote => {
                lane.refuse_rest();
                self.end(now_us, id);
            }
            _ => lane.state = State::Waiting(now_us + CLUSTER_RETRY_US),
        }
    }

    /// Begins what may be begun of a lane that is with its group here; ends it if all is decided.
    fn advance(&mut self, now_us: u64, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let State::Here { mut next, mut open, since_us } = lane.state else { return };
        let group = lane.group;
        let mut tickets = Vec::new();
        while !lane.is_stopped && next < lane.items.len() {
            if lane.items[next].is_write {
                // Behind reads that are under way it would be applied before they are made.
                if open > 0 && !lane.items[next - 1].is_write {
                    break;
                }
                tickets.push(next);
                next += 1;
                open += 1;
            } else {
                if open > 0 {
                    break;
                }
                let reads = lane.items[next..].iter().take_while(|item| !item.is_write).count();
                self.next_reads.entry(group).or_default().push((id, next..next + reads));
                next += reads;
                open += reads;
            }
        }
        lane.state = State::Here { next, open, since_us };
        let is_over = open == 0 && (lane.is_stopped || next == lane.items.len());
        for at in tickets {
            let ticket = self.fresh();
            self.writes.insert(ticket, (id, at));
            let Some(lane) = self.lanes.get(&id) else { return };
            let bytes = Arc::clone(&lane.items[at].bytes);
            self.wishes.push(Wish::Write(group, ticket, bytes));
        }
        if is_over {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.refuse_rest();
            }
            self.end(now_us, id);
        }
    }

    /// In which protocol the reply to a write is wanted, if anybody wants it.
    pub fn wants(&self, ticket: Ticket) -> Option<Protocol> {
        let (lane, _) = self.writes.get(&ticket)?;
        Some(self.lanes.get(lane)?.protocol)
    }

    /// A write has come to its end.
    pub fn written(&mut self, now_us: u64, ticket: Ticket, end: End) {
        let Some((id, at)) = self.writes.remove(&ticket) else { return };
        self.settle(id, at..at + 1, end);
        self.advance(now_us, id);
    }

    fn settle(&mut self, id: LaneId, items: Range<usize>, end: End) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.is_stopped |= !matches!(end, End::Reply(_));
        let count = items.len();
        for item in &mut lane.items[items] {
            item.end.get_or_insert(end.clone());
        }
        if let State::Here { open, .. } = &mut lane.state {
            *open = open.saturating_sub(count);
        }
    }

    /// Reads may be answered now: `read` makes the reply to one of them.
    pub fn answer(&mut self, now_us: u64, ticket: Ticket, read: &mut Reading<'_>) {
        for (id, items) in self.reads.remove(&ticket).unwrap_or_default() {
            for at in items {
                let Some(lane) = self.lanes.get(&id) else { break };
                let reply = read(lane.group, &lane.items[at].bytes, lane.protocol);
                self.settle(id, at..at + 1, End::Reply(reply));
            }
            self.advance(now_us, id);
        }
    }

    /// Reads or writes that the group refused, or does not know the end of.
    pub fn failed(&mut self, now_us: u64, ticket: Ticket, end: End) {
        for (id, items) in self.reads.remove(&ticket).unwrap_or_default() {
            self.settle(id, items, End::Refused);
            self.advance(now_us, id);
        }
        self.written(now_us, ticket, end);
    }

    /// A node tells what became of requests.
    pub fn replied(&mut self, now_us: u64, from: NodeId, replies: Replies) {
        let Some(&id) = self.sent.get(&replies.id) else { return };
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let State::There { node, from: first, .. } = lane.state else { return };
        let items = &mut lane.items[first..];
        if node != from || items.len() != replies.items.len() {
            return;
        }
        for (item, end) in items.iter_mut().zip(replies.items) {
            // A read that is uncertain was not made.
            let is_refused = end == End::Uncertain && !item.is_write;
            item.end = Some(if is_refused { End::Refused } else { end });
        }
        self.sent.remove(&replies.id);
        self.end(now_us, id);
    }

    /// Requests were not sent after all.
    pub fn not_sent(&mut self, now_us: u64, sent: u64) {
        let Some(id) = self.sent.remove(&sent) else { return };
        self.park(now_us, id);
    }

    /// The connection to a node is lost: what was sent there and not answered is uncertain, if it
    /// writes.
    pub fn lost(&mut self, now_us: u64, lost: NodeId) {
        let is_there =
            |lane: &Lane| matches!(lane.state, State::There { node, .. } if node == lost);
        let ids: Vec<LaneId> =
            self.lanes.iter().filter(|(_, lane)| is_there(lane)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.give_up(now_us, id));
    }

    /// Waits no longer for what is under way: writes among it are uncertain, and nothing else was
    /// executed.
    fn give_up(&mut self, now_us: u64, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let begun = match lane.state {
            State::Here { next, .. } => next,
            State::There { id: sent, .. } => {
                self.sent.remove(&sent);
                lane.items.len()
            }
            State::Waiting(_) => 0,
        };
        for (at, item) in lane.items.iter_mut().enumerate() {
            let is_open = at < begun && item.is_write;
            item.end.get_or_insert(if is_open { End::Uncertain } else { End::Refused });
        }
        self.end(now_us, id);
    }

    /// All items of a lane have their end: it is told, or what was refused waits for another try.
    fn end(&mut self, now_us: u64, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if let Origin::There(node, name) = lane.origin {
            let ends = lane.items.iter_mut().map(|item| item.end.take().unwrap_or(End::Refused));
            let replies = Replies { id: name, items: ends.collect() };
            let bytes: usize = lane.items.iter().map(|item| item.bytes.len()).sum();
            self.remote = (self.remote.0 - 1, self.remote.1 - bytes);
            self.lanes.remove(&id);
            self.wishes.push(Wish::Reply(node, replies));
            return;
        }
        let is_refused = |item: &Item| item.end.as_ref().is_none_or(|end| *end == End::Refused);
        if !lane.items.iter().any(is_refused) {
            return self.finish(id);
        }
        // What is left is one run at the end, but for reads behind an uncertain write.
        let from = lane.items.iter().position(is_refused).unwrap_or(0);
        if now_us > lane.began_us + CLUSTER_PARK_US
            || lane.items[from..].iter().any(|item| !is_refused(item))
        {
            return self.refuse(id);
        }
        lane.items[from..].iter_mut().for_each(|item| item.end = None);
        self.park(now_us, id);
    }

    /// Nobody was found for what is left.
    fn refuse(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.refuse_rest();
        }
        self.finish(id);
    }

    /// Gives a lane's replies to its submission, and that to its connection if it is complete.
    fn finish(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.remove(&id) else { return };
        let Origin::Here(waiter_id, refs) = lane.origin else { return };
        let Some(waiter) = self.waiters.get_mut(&waiter_id) else { return };
        for (item, (place, part)) in lane.items.into_iter().zip(refs) {
            waiter.places[place].replies[part] = match item.end {
                Some(End::Reply(reply)) => reply,
                Some(End::Uncertain) => UNCERTAIN.to_vec(),
                _ => REFUSED.to_vec(),
            };
        }
        waiter.lanes -= 1;
        if waiter.lanes == 0
            && let Some(waiter) = self.waiters.remove(&waiter_id)
        {
            let mut bytes = Vec::new();
            for place in waiter.places.into_iter().filter(|place| !place.is_silent) {
                bytes.append(&mut combine(&place.combine, waiter.protocol, place.replies));
            }
            self.wishes.push(Wish::Answer(waiter.conn, bytes, waiter.done));
        }
    }
}

/// Tells a connection that its replies are on their way; to be called when they are.
pub(super) fn mark_done(done: &AtomicBool) {
    // Release: pairs with the Acquire of the worker that looks at it.
    done.store(true, Ordering::Release);
}

const REFUSED: &[u8] = b"-TRYAGAIN the group of this key has no leader that can be reached at the \
    moment; the request was not executed\r\n";
const UNCERTAIN: &[u8] =
    b"-UNCERTAIN the node that the request was sent to did not answer; it may \
    have been executed, and will not be tried again\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::cluster::{Part, Place};
    use crate::limits::CLUSTER_REPLY_US;

    const ME: NodeId = 1;
    const OTHER: NodeId = 2;

    struct Desk {
        lanes: Lanes,
        now_us: u64,
        leader: Leader,
    }

    impl Desk {
        fn new(leader: Leader) -> Desk {
            Desk { lanes: Lanes::new(1 << 40), now_us: 1000, leader }
        }

        /// Hands in requests: `w` and `r` followed by the number of their group.
        fn submit(&mut self, requests: &[(bool, u16)]) -> Vec<Wish> {
            let place = |&(is_write, group): &(bool, u16)| Place {
                combine: Combine::Only,
                parts: vec![Part { group, is_write, bytes: vec![group as u8] }],
                is_silent: false,
            };
            let submission = Submission {
                conn: ConnId { index: 1, generation: 1 },
                protocol: Protocol::Resp2,
                places: requests.iter().map(place).collect(),
                done: Arc::default(),
            };
            let leader = self.leader;
            self.lanes.submit(self.now_us, submission, &|_| leader);
            self.lanes.take_wishes()
        }

        fn tick(&mut self, passed_us: u64) -> Vec<Wish> {
            self.now_us += passed_us;
            let leader = self.leader;
            self.lanes.tick(self.now_us, &|_| leader);
            self.lanes.take_wishes()
        }

        /// Another one leads now.
        fn led_by(&mut self, leader: Leader) -> Vec<Wish> {
            self.leader = leader;
            self.lanes.retry(self.now_us, Some(1), &|_| leader);
            self.wishes()
        }

        fn wishes(&mut self) -> Vec<Wish> {
            let leader = self.leader;
            self.lanes.look_again(self.now_us, &|_| leader);
            self.lanes.take_wishes()
        }

        fn written(&mut self, ticket: Ticket, end: End) -> Vec<Wish> {
            self.lanes.failed(self.now_us, ticket, end);
            self.wishes()
        }

        fn replied(&mut self, from: NodeId, id: u64, items: Vec<End>) -> Vec<Wish> {
            self.lanes.replied(self.now_us, from, Replies { id, items });
            self.wishes()
        }
    }

    fn write_tickets(wishes: &[Wish]) -> Vec<Ticket> {
        let ticket = |wish: &Wish| match wish {
            Wish::Write(_, ticket, _) => Some(*ticket),
            _ => None,
        };
        wishes.iter().filter_map(ticket).collect()
    }

    fn read_ticket(wishes: &[Wish]) -> Ticket {
        match wishes {
            [Wish::Read(_, ticket)] => *ticket,
            other => panic!("{other:?}"),
        }
    }

    fn sent(wishes: &[Wish]) -> (NodeId, &Requests) {
        match wishes {
            [Wish::Send(node, requests)] => (*node, requests),
            other => panic!("{other:?}"),
        }
    }

    fn answer(wishes: &[Wish]) -> String {
        match wishes {
            [Wish::Answer(_, bytes, _)] => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("{other:?}"),
        }
    }

    fn reply(text: &str) -> End {
        End::Reply(text.as_bytes().to_vec())
    }

    #[test]
    fn a_read_waits_for_the_write_in_front_of_it_and_a_write_for_the_read() {
        let mut desk = Desk::new(Leader::Here);
        let wishes = desk.submit(&[(true, 3), (true, 3), (false, 3), (true, 3)]);
        let tickets = write_tickets(&wishes);
        assert_eq!((tickets.len(), wishes.len()), (2, 2), "both writes and nothing else");
        assert!(desk.written(tickets[0], reply("1")).is_empty());
        let read = desk.written(tickets[1], reply("2"));
        let ticket = read_ticket(&read);
        desk.lanes.answer(desk.now_us, ticket, &mut |group, _, _| vec![b'0' + group as u8]);
        let wishes = desk.lanes.take_wishes();
        let last = write_tickets(&wishes);
        assert_eq!(last.len(), 1);
        assert_eq!(answer(&desk.written(last[0], reply("4"))), "1234");
        assert_eq!(desk.lanes.count(), 0);
    }

    #[test]
    fn groups_do_not_wait_for_each_other_and_replies_keep_their_order() {
        let mut desk = Desk::new(Leader::Here);
        let wishes = desk.submit(&[(true, 1), (true, 2)]);
        let tickets = write_tickets(&wishes);
        assert!(desk.written(tickets[1], reply("second")).is_empty());
        assert_eq!(answer(&desk.written(tickets[0], reply("first "))), "first second");
    }

    #[test]
    fn what_is_refused_waits_for_a_leader_and_then_goes_on_as_a_whole() {
        let mut desk = Desk::new(Leader::Here);
        let tickets = write_tickets(&desk.submit(&[(true, 1), (true, 1), (true, 1)]));
        desk.written(tickets[0], reply("1"));
        desk.written(tickets[1], End::Refused);
        assert!(desk.written(tickets[2], End::Refused).is_empty(), "it waits");
        desk.leader = Leader::There(OTHER);
        let wishes = desk.tick(CLUSTER_RETRY_US);
        let (node, requests) = sent(&wishes);
        assert_eq!((node, requests.items.len()), (OTHER, 2), "what was answered is not sent");
        let id = requests.id;
        assert!(desk.replied(ME, id, vec![reply("x"), reply("x")]).is_empty(), "of another node");
        assert_eq!(answer(&desk.replied(OTHER, id, vec![reply("2"), reply("3")])), "123");
        assert!(desk.replied(OTHER, id, vec![reply("2"), reply("3")]).is_empty(), "again");
    }

    #[test]
    fn what_the_last_leader_refused_goes_to_the_next_without_waiting() {
        let mut desk = Desk::new(Leader::There(OTHER));
        let first = sent(&desk.submit(&[(true, 1)])).1.id;
        assert!(desk.led_by(Leader::There(3)).is_empty(), "it is under way");
        let wishes = desk.replied(OTHER, first, vec![End::Refused]);
        let (node, requests) = sent(&wishes);
        assert_eq!((node, requests.items.len()), (3, 1), "the news came before the refusal");
        let second = requests.id;
        assert!(desk.replied(3, second, vec![End::Refused]).is_empty(), "the same one leads");
        assert!(desk.led_by(Leader::There(3)).is_empty(), "still the same");
        assert_eq!(sent(&desk.led_by(Leader::There(OTHER))).0, OTHER, "the news came behind it");
    }

    #[test]
    fn a_leader_that_was_lost_is_asked_again_as_soon_as_it_is_back() {
        let mut desk = Desk::new(Leader::There(OTHER));
        desk.submit(&[(false, 1)]);
        desk.leader = Leader::Unknown;
        desk.lanes.lost(desk.now_us, OTHER);
        assert!(desk.wishes().is_empty(), "nobody is there");
        assert_eq!(sent(&desk.led_by(Leader::There(OTHER))).0, OTHER);
    }

    #[test]
    fn a_write_that_was_sent_is_not_sent_again_and_a_read_is() {
        let mut desk = Desk::new(Leader::There(OTHER));
        let wishes = desk.submit(&[(true, 1)]);
        assert_eq!(sent(&wishes).0, OTHER);
        desk.lanes.lost(desk.now_us, OTHER);
        let wishes = desk.lanes.take_wishes();
        assert!(answer(&wishes).starts_with("-UNCERTAIN "), "{wishes:?}");
        let wishes = desk.submit(&[(false, 1)]);
        let first = sent(&wishes).1.id;
        desk.lanes.lost(desk.now_us, OTHER);
        assert!(desk.lanes.take_wishes().is_empty());
        let wishes = desk.tick(CLUSTER_RETRY_US);
        assert_ne!(sent(&wishes).1.id, first);
    }

    #[test]
    fn what_was_never_sent_is_tried_until_the_end_of_its_time() {
        let mut desk = Desk::new(Leader::There(OTHER));
        let wishes = desk.submit(&[(true, 1)]);
        let id = sent(&wishes).1.id;
        desk.lanes.not_sent(desk.now_us, id);
        desk.leader = Leader::Unknown;
        assert!(desk.tick(CLUSTER_RETRY_US).is_empty());
        let wishes = desk.tick(CLUSTER_PARK_US);
        assert!(answer(&wishes).starts_with("-TRYAGAIN "), "{wishes:?}");
    }

    #[test]
    fn an_uncertain_write_ends_what_is_behind_it_only_if_time_is_over() {
        let mut desk = Desk::new(Leader::Here);
        let tickets = write_tickets(&desk.submit(&[(true, 1), (false, 1)]));
        assert!(desk.written(tickets[0], End::Uncertain).is_empty());
        let wishes = desk.tick(CLUSTER_RETRY_US);
        let ticket = read_ticket(&wishes);
        desk.lanes.answer(desk.now_us, ticket, &mut |_, _, _| b"read".to_vec());
        let text = answer(&desk.lanes.take_wishes());
        assert!(text.starts_with("-UNCERTAIN ") && text.ends_with("read"), "{text}");
    }

    #[test]
    fn a_write_without_an_end_is_uncertain_in_the_end() {
        let mut desk = Desk::new(Leader::Here);
        let tickets = write_tickets(&desk.submit(&[(true, 1), (false, 1)]));
        let text = answer(&desk.tick(CLUSTER_REPLY_US + 1));
        assert!(text.contains("-UNCERTAIN ") && text.contains("-TRYAGAIN "), "{text}");
        assert!(desk.written(tickets[0], reply("late")).is_empty());
    }

    #[test]
    fn requests_of_another_node_are_refused_where_nobody_leads() {
        let mut desk = Desk::new(Leader::There(3));
        let items = vec![(true, vec![1]), (false, vec![1])];
        let requests = Requests { id: 9, group: 1, protocol: 2, items };
        let leader = desk.leader;
        desk.lanes.receive(desk.now_us, OTHER, requests, &|_| leader);
        match &desk.lanes.take_wishes()[..] {
            [Wish::Reply(OTHER, replies)] => {
                assert_eq!(replies.items, [End::Refused, End::Refused]);
            }
            other => panic!("{other:?}"),
        }
    }
}
