//! One replica of one group: what happened goes in, what is to be done comes out.
//!
//! ```text
//!   driver:  Tick  Receive  Propose  Read  Persisted  Applied  Transfer  Reconcile  Cut  Clock
//!               `------------------------- step(now, input, out) ------------------------'
//!   group:   Persist  Send  Apply  Restore  Answer  Fate  Role  WantSnapshot
//! ```
//!
//! The driver writes each `Persist` behind the one before and says `Persisted` once it is durable;
//! applies each `Apply` in order and says `Applied`; and sends each `Send` whenever it likes, or
//! loses it. The clock of `step` must run while the process is stopped and never go back.
//!
//! Invariants: what promises something to a peer (a vote, an acknowledgement) is not sent before
//! what it promises is durable (C11); nothing uncommitted is applied; only a leader proposes, and
//! what a peer forwards is dropped; a read is answered by a leader that was one after the read
//! arrived. Deliberately absent: bytes on the wire, files, retries of requests, when to cut a
//! snapshot.

mod calm;
mod judge;
mod members;
mod ready;

use super::election::{CAMPAIGN_TICKS_MAX, campaign_ticks};
use super::entry::{self, LogClock};
use super::fate::{Fate, OpenRequests, Ticket};
use super::lease::{Lease, Silence};
use super::reads::{ReadMode, Reads};
use super::tail::Tail;
use crate::limits::*;
pub use judge::Wrong;
use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType, Snapshot};
use raft::{Config, RawNode, StateRole};
use ready::Held;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;

/// A vote that a transfer of the leadership forces carries this context, in the library.
const FORCED: &[u8] = b"CampaignTransfer";

/// What a replica begins its life with: a birth, a restart, or nothing at all.
pub struct Start {
    /// Its id, never used before for another life (C1).
    pub replica: u64,
    /// The last hard state that is durable.
    pub hard_state: HardState,
    /// The snapshot that the applied state was loaded from; of index 0 if there is none.
    pub snapshot: Snapshot,
    /// The durable entries behind it.
    pub entries: Vec<Entry>,
    /// Replicas in the order of the ring, by which campaigns are ranked.
    pub order: Vec<u64>,
}

/// Why a replica cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Entries, snapshot and hard state do not fit each other.
    LogNotWhole,
    /// The id is 0, or the library refuses the configuration.
    Refused,
}

/// A request on its way into the log.
#[derive(Clone, Debug)]
pub struct Request {
    /// By which its fate is told.
    pub ticket: Ticket,
    /// What is applied; the group does not look inside.
    pub bytes: Vec<u8>,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Time has passed. Ticks closer than [`GROUP_TICK_US`] count as one.
    Tick,
    /// A peer sent this.
    Receive(Message),
    /// Requests that wait together; they share entries.
    Propose(Vec<Request>),
    /// A read that wants to know when it may be answered from what is applied.
    Read(Ticket, ReadMode),
    /// Everything up to this [`Persist`] is durable.
    Persisted(u64),
    /// Everything up to this index is applied, or restored.
    Applied(u64),
    /// Hands the leadership to another replica (C7).
    Transfer(u64),
    /// Does the next step towards these voters, if this replica leads and a step can be done.
    Reconcile(Vec<u64>),
    /// A snapshot of the applied state was cut (C15).
    Cut(Cut),
    /// Log time should be told, though there is no request (C4).
    Clock,
    /// There are reads under the lease that do not ask here: it is to be kept up.
    Reading,
}

/// A snapshot of the state at an index that is applied.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The last index that is in it.
    pub index: u64,
    /// Log time there.
    pub time_us: u64,
    /// The state, or what tells where it is. The group does not look inside.
    pub data: Vec<u8>,
    /// Entries from this index on are kept for replicas that lag.
    pub keep_from: u64,
}

/// What is to be made durable, in this order: the checkpoint, the entries, the hard state.
#[derive(Clone, Debug)]
pub struct Persist {
    /// By which it is reported; ascending without gaps.
    pub token: u64,
    /// Term, vote and commit.
    pub hard_state: HardState,
    /// Entries, from the place of the first on; what was there and behind is gone.
    pub entries: Vec<Entry>,
    /// A snapshot, if there is one.
    pub checkpoint: Option<Checkpoint>,
}

/// A snapshot that becomes the beginning of the log.
#[derive(Clone, Debug)]
pub enum Checkpoint {
    /// Of the own state: entries behind it stay.
    Own(Snapshot),
    /// Received from a leader: takes the place of the whole log.
    Received(Snapshot),
}

/// An entry that is committed, to be applied.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its index; they come without gaps.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Its bytes (see [`entry`]); empty if it concerns the group alone.
    pub data: Data,
    /// The tickets of its requests if they were proposed here; they are applied then.
    pub tickets: Vec<Ticket>,
}

/// The bytes of an entry, which it shares with the log.
#[derive(Clone, Debug)]
pub struct Data(Entry);

impl Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.data
    }
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Write this behind everything before, and report [`Input::Persisted`].
    Persist(Persist),
    /// Send this to the replica that it names.
    Send(Message),
    /// Apply these, and report [`Input::Applied`].
    Apply(Vec<Committed>),
    /// Put this durable snapshot in the place of the applied state, and report [`Input::Applied`].
    Restore(Snapshot),
    /// Answer these reads from what is applied now.
    Answer(Vec<Ticket>),
    /// These requests or reads have come to an end.
    Fate(Fate, Vec<Ticket>),
    /// The role changed.
    Role(Role),
    /// A replica needs a snapshot that is newer than the one at hand: cut one.
    WantSnapshot,
    /// This replica sent what is not to be: it was dropped.
    Wrong(u64, Wrong),
}

/// Who leads, as far as this replica knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// What this replica is.
    pub role: StateRole,
    /// In which term.
    pub term: u64,
    /// The leader, or 0 if none is known.
    pub leader: u64,
}

/// One replica of one group.
pub struct Group {
    raw: RawNode<Tail>,
    order: Vec<u64>,
    /// Who led last, and after how many ticks without a leader this replica campaigns.
    last_leader: u64,
    campaign_ticks: usize,
    role: Role,
    ticked_us: u64,
    silence: Silence,
    lease: Lease,
    read_us: Option<u64>,
    reads: Reads,
    open: OpenRequests,
    clock: LogClock,
    /// How far wall time is ahead of the local time, if that is known.
    wall_ahead_us: Option<i64>,
    /// Written, not durable yet, the oldest first.
    held: VecDeque<Held>,
    token: u64,
    /// It was shown to lack what it had promised: it helps nobody to lead, itself included.
    lacks: bool,
    /// Ticks since a snapshot was sent, by the replicas that have not confirmed theirs.
    awaited: BTreeMap<u64, usize>,
    /// Configurations by the index from which they hold, back to the snapshot at hand.
    configurations: VecDeque<(u64, ConfState)>,
}

/// The snapshot that a group of these voters is born with. It has an index, so that a replica
/// that joins later begins with a snapshot too and learns the configuration from it.
pub fn birth(voters: &[u64], time_us: u64, data: &[u8]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let meta = snapshot.mut_metadata();
    (meta.index, meta.term) = (1, 1);
    meta.mut_conf_state().set_voters(voters.to_vec());
    snapshot.data = entry::with_time(time_us, data).into();
    snapshot
}

impl Group {
    /// Begins, or goes on, at the local time `now_us`. What is applied is the state of the
    /// snapshot; committed entries behind it come out again.
    pub fn new(start: Start, now_us: u64) -> Result<Group, StartError> {
        let applied = start.snapshot.get_metadata().index;
        if !judge::may_begin_with(&start.snapshot) {
            return Err(StartError::LogNotWhole);
        }
        let conf = start.snapshot.get_metadata().get_conf_state().clone();
        let tail = Tail::new(start.hard_state, start.snapshot, start.entries)
            .ok_or(StartError::LogNotWhole)?;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&configuration(start.replica, applied), tail, &logger)
            .map_err(|_| StartError::Refused)?;
        let role = Role { role: StateRole::Follower, term: raw.raft.term, leader: 0 };
        let mut group = Group {
            raw,
            order: start.order,
            last_leader: 0,
            campaign_ticks: 0,
            role,
            ticked_us: now_us,
            silence: Silence::from_start(now_us),
            lease: Lease::default(),
            read_us: None,
            reads: Reads::default(),
            open: OpenRequests::default(),
            clock: LogClock::default(),
            wall_ahead_us: None,
            held: VecDeque::new(),
            token: 0,
            lacks: false,
            awaited: BTreeMap::new(),
            configurations: [(applied, conf)].into(),
        };
        group.rank();
        Ok(group)
    }

    /// Takes in what happened at the local time `now_us`, and adds to `out` what is to be done.
    /// False if role, log, lease and reads are what they were before.
    pub fn step(&mut self, now_us: u64, input: Input, out: &mut Vec<Output>) -> bool {
        match input {
            Input::Tick => {
                if self.passes_calmly(now_us, out) {
                    return false;
                }
            }
            Input::Receive(message) => {
                if self.hears_calmly(now_us, message, out) {
                    return false;
                }
            }
            Input::Propose(requests) => self.propose(now_us, requests, out),
            Input::Read(ticket, mode) => self.read(now_us, ticket, mode, out),
            Input::Persisted(token) => self.persisted(token, out),
            Input::Applied(index) => self.raw.advance_apply_to(index),
            Input::Transfer(to) => self.transfer(to),
            Input::Reconcile(wanted) => self.reconcile(&wanted),
            Input::Cut(cut) => self.cut(cut, out),
            Input::Clock => self.tell_time(now_us),
            Input::Reading => self.read_us = Some(now_us),
        }
        self.settle(now_us, out);
        true
    }

    /// Wall time is so far ahead of the local time; log time is drawn towards it (C4).
    pub fn set_wall(&mut self, ahead_us: Option<i64>) {
        self.wall_ahead_us = ahead_us;
    }

    /// What this replica is, and who leads.
    pub fn role(&self) -> Role {
        self.role
    }

    /// This replica's id.
    pub fn id(&self) -> u64 {
        self.raw.raft.id
    }

    /// The log.
    pub fn log(&self) -> &Tail {
        self.raw.store()
    }

    /// The last index that is known to be committed.
    pub fn committed(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    /// The configuration that holds.
    pub fn members(&self) -> ConfState {
        self.raw.raft.prs().conf().to_conf_state()
    }

    /// The local time until which this replica may answer reads alone; 0 if it may not.
    pub fn lease_until_us(&self) -> u64 {
        if self.leads() { self.lease.until_us(self.role.term) } else { 0 }
    }

    /// Requests and reads that are not decided.
    pub fn undecided(&self) -> usize {
        self.open.count() + self.reads.count()
    }

    /// True while a received snapshot is not yet in the place of the applied state. Such a replica
    /// takes no part in elections (C15): the library would look for entries that it does not have.
    fn is_restoring(&self) -> bool {
        self.raw.raft.raft_log.applied() + 1 < self.log().first()
    }

    /// True if this replica may take part in elections.
    fn may_help(&self) -> bool {
        !self.lacks && !self.is_restoring()
    }

    /// True if this replica leads.
    pub fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    fn receive(&mut self, now_us: u64, message: Message, out: &mut Vec<Output>) {
        if self.held.len() >= GROUP_WRITES_MAX || !self.accepts(now_us, &message) {
            return;
        }
        if let Err(wrong) = self.judge(&message) {
            let is_told = wrong == Wrong::Lacks && std::mem::replace(&mut self.lacks, true);
            if !is_told {
                out.push(Output::Wrong(message.from, wrong));
            }
            return;
        }
        let kind = message.get_msg_type();
        let (from, term) = (message.from, message.term);
        // What the library refuses (a peer that is no member, a step that does not fit) is as good
        // as lost on the way.
        let _ = self.raw.step(message);
        let raft = &self.raw.raft;
        if is_from_leader(kind) && raft.leader_id == from && raft.term == term {
            self.silence.heard(now_us);
        }
    }

    fn accepts(&self, now_us: u64, message: &Message) -> bool {
        use MessageType::*;
        if message.to != self.id() || message.from == self.id() || message.from == 0 {
            return false;
        }
        match message.get_msg_type() {
            MsgRequestVote | MsgRequestPreVote => {
                let is_forced = message.context[..] == *FORCED;
                (is_forced || !self.silence.holds(now_us)) && self.may_help()
            }
            MsgRequestVoteResponse | MsgRequestPreVoteResponse | MsgTimeoutNow => self.may_help(),
            MsgAppend | MsgAppendResponse | MsgHeartbeat | MsgHeartbeatResponse => true,
            MsgSnapshot => true,
            // Requests of others (proposals, reads, transfers) come by the driver's own way, and
            // local messages are not for the wire.
            _ => false,
        }
    }

    fn propose(&mut self, now_us: u64, requests: Vec<Request>, out: &mut Vec<Output>) {
        let mut rest = &requests[..];
        while !rest.is_empty() {
            let shared = entry::share(rest.iter().map(|request| request.bytes.len()));
            let (batch, behind) = rest.split_at(shared);
            if !self.propose_entry(now_us, batch) {
                let refused = rest.iter().map(|request| request.ticket).collect();
                out.push(Output::Fate(Fate::Refused, refused));
                return;
            }
            rest = behind;
        }
    }

    /// Proposes one entry; false if it did not enter the log.
    fn propose_entry(&mut self, now_us: u64, batch: &[Request]) -> bool {
        // A follower would send it on to the leader, where nobody knows its ticket.
        if !self.leads() || self.open.count() + batch.len() > GROUP_OPEN_MAX {
            return false;
        }
        let wall_us = self.wall_ahead_us.map(|ahead_us| now_us.saturating_add_signed(ahead_us));
        let time_us = self.clock.stamp(now_us, wall_us);
        let data = entry::encode(time_us, batch.iter().map(|request| &request.bytes[..]));
        if self.raw.propose(Vec::new(), data).is_err() {
            return false;
        }
        let tickets: Vec<Ticket> = batch.iter().map(|request| request.ticket).collect();
        if !tickets.is_empty() {
            let raft = &self.raw.raft;
            self.open.propose(raft.raft_log.last_index(), raft.term, tickets);
        }
        true
    }

    fn tell_time(&mut self, now_us: u64) {
        self.propose_entry(now_us, &[]);
    }

    fn read(&mut self, now_us: u64, ticket: Ticket, mode: ReadMode, out: &mut Vec<Output>) {
        if !self.leads() || self.reads.count() >= GROUP_OPEN_MAX {
            out.push(Output::Fate(Fate::Refused, vec![ticket]));
            return;
        }
        self.read_us = Some(now_us);
        if mode == ReadMode::Linearizable && now_us < self.lease_until_us() {
            self.reads.push_at(self.committed(), ticket);
        } else {
            self.reads.push(ticket);
        }
    }

    /// Sets how long this replica waits before it campaigns. The library forgets it at each change
    /// of role, so this is done after each step (C10).
    fn rank(&mut self) {
        let raft = &self.raw.raft;
        let members = self.configurations.back().expect("never empty").1.get_voters().iter();
        let outgoing = self.configurations.back().expect("never empty").1.get_voters_outgoing();
        let voters = members.chain(outgoing).copied();
        let ticks = campaign_ticks(raft.id, self.last_leader, voters, &self.order);
        self.campaign_ticks = ticks;
        self.raw.raft.set_randomized_election_timeout(ticks);
    }
}

fn is_from_leader(kind: MessageType) -> bool {
    matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot)
}

fn configuration(replica: u64, applied: u64) -> Config {
    Config {
        id: replica,
        applied,
        election_tick: GROUP_ELECTION_TICKS,
        heartbeat_tick: GROUP_HEARTBEAT_TICKS,
        min_election_tick: GROUP_CAMPAIGN_TICKS_MIN,
        max_election_tick: CAMPAIGN_TICKS_MAX + 1,
        max_size_per_msg: GROUP_MESSAGE_BYTES,
        max_inflight_msgs: GROUP_INFLIGHT_MAX,
        max_uncommitted_size: GROUP_UNCOMMITTED_BYTES,
        check_quorum: true,
        pre_vote: true,
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three replicas whose disks and net are as fast as they are reliable, except for those that
    /// are cut off.
    struct Trio {
        groups: Vec<Group>,
        now_us: u64,
        applied: Vec<Vec<Ticket>>,
        answered: Vec<Ticket>,
        fates: Vec<(Fate, Ticket)>,
        cut_off: Option<usize>,
    }

    impl Trio {
        fn new() -> Trio {
            let snapshot = birth(&[1, 2, 3], 5_000, b"");
            let start = |replica| Start {
                replica,
                hard_state: HardState::default(),
                snapshot: snapshot.clone(),
                entries: Vec::new(),
                order: vec![2, 3, 1],
            };
            let groups = [1, 2, 3].map(|replica| Group::new(start(replica), 0).unwrap());
            Trio {
                groups: groups.into(),
                now_us: 0,
                applied: vec![Vec::new(); 3],
                answered: Vec::new(),
                fates: Vec::new(),
                cut_off: None,
            }
        }

        /// The first in the order of the ring leads.
        fn led() -> Trio {
            let mut trio = Trio::new();
            trio.pass(GROUP_CAMPAIGN_TICKS_MIN + 2);
            assert_eq!(trio.leaders(), [2]);
            trio
        }

        fn leaders(&self) -> Vec<u64> {
            let leading = self.groups.iter().filter(|group| group.role().role == StateRole::Leader);
            leading.map(Group::id).collect()
        }

        fn pass(&mut self, ticks: usize) {
            for _ in 0..ticks {
                self.now_us += GROUP_TICK_US;
                (0..3).for_each(|at| self.step(at, Input::Tick));
            }
        }

        fn step(&mut self, at: usize, input: Input) {
            let mut inputs = VecDeque::from([(at, input)]);
            while let Some((at, input)) = inputs.pop_front() {
                let mut out = Vec::new();
                self.groups[at].step(self.now_us, input, &mut out);
                for output in out {
                    inputs.extend(self.obey(at, output));
                }
            }
        }

        fn obey(&mut self, at: usize, output: Output) -> Option<(usize, Input)> {
            match output {
                Output::Persist(write) => return Some((at, Input::Persisted(write.token))),
                Output::Send(message) => {
                    let to = message.to as usize - 1;
                    let is_cut = self.cut_off.is_some_and(|cut| cut == at || cut == to);
                    return (!is_cut).then_some((to, Input::Receive(message)));
                }
                Output::Apply(entries) => {
                    let last = entries.last().map(|entry| Input::Applied(entry.index));
                    self.applied[at].extend(entries.into_iter().flat_map(|entry| entry.tickets));
                    return last.map(|input| (at, input));
                }
                Output::Answer(tickets) => self.answered.extend(tickets),
                Output::Fate(fate, tickets) => {
                    self.fates.extend(tickets.into_iter().map(|ticket| (fate, ticket)));
                }
                Output::Restore(snapshot) => {
                    return Some((at, Input::Applied(snapshot.get_metadata().index)));
                }
                Output::Role(_) | Output::WantSnapshot => {}
                Output::Wrong(_, wrong) => panic!("all are honest: {wrong:?}"),
            }
            None
        }
    }

    fn request(ticket: Ticket) -> Request {
        Request { ticket, bytes: vec![7; 10] }
    }

    #[test]
    fn what_was_proposed_is_applied_and_answered_where_it_was_proposed() {
        let mut trio = Trio::led();
        trio.step(1, Input::Propose(vec![request(1), request(2)]));
        assert_eq!(trio.applied, [vec![], vec![1, 2], vec![]]);
        let lasts: Vec<u64> = trio.groups.iter().map(|group| group.log().last()).collect();
        assert_eq!(lasts, [3; 3], "birth, the leader's own entry, one for both requests");
    }

    #[test]
    fn a_follower_refuses_and_sends_nothing_on() {
        let mut trio = Trio::led();
        trio.step(0, Input::Propose(vec![request(1)]));
        trio.step(0, Input::Read(2, ReadMode::Strict));
        assert_eq!(trio.fates, [(Fate::Refused, 1), (Fate::Refused, 2)]);
        let mut forwarded = Message { from: 1, to: 2, ..Message::default() };
        forwarded.set_msg_type(MessageType::MsgPropose);
        forwarded.set_entries(vec![Entry::default()].into());
        trio.step(1, Input::Receive(forwarded));
        assert_eq!(trio.groups[1].log().last(), 2, "only the entry with which the term began");
    }

    #[test]
    fn reads_make_a_lease_and_a_leader_that_is_cut_off_loses_it() {
        let mut trio = Trio::led();
        assert_eq!(trio.groups[1].lease_until_us(), 0, "nobody reads");
        trio.step(1, Input::Read(1, ReadMode::Linearizable));
        assert_eq!(trio.groups[1].lease_until_us(), trio.now_us + GROUP_LEASE_US);
        trio.cut_off = Some(1);
        trio.step(1, Input::Read(2, ReadMode::Linearizable));
        assert_eq!(trio.answered, [1, 2], "the lease holds");
        trio.step(1, Input::Read(3, ReadMode::Strict));
        trio.pass(8);
        trio.step(1, Input::Read(4, ReadMode::Linearizable));
        assert_eq!(trio.answered, [1, 2], "the lease is over");
        trio.pass(GROUP_CAMPAIGN_TICKS_MIN);
        assert_eq!(trio.leaders(), [3], "the next in rank");
        assert_eq!(trio.fates, [(Fate::Refused, 3), (Fate::Refused, 4)]);
    }

    #[test]
    fn a_leader_that_lost_learns_the_fate_of_its_requests_from_the_next() {
        let mut trio = Trio::led();
        trio.cut_off = Some(1);
        trio.step(1, Input::Propose(vec![request(1)]));
        trio.pass(GROUP_CAMPAIGN_TICKS_MIN + 8);
        assert_eq!(trio.leaders(), [3]);
        assert!(trio.fates.is_empty(), "losing the leadership decides nothing");
        trio.cut_off = None;
        trio.pass(GROUP_HEARTBEAT_TICKS * 3);
        assert_eq!(trio.fates, [(Fate::NotApplied, 1)]);
    }

    /// Followers that answer late may have helped another to lead since they heard of the round.
    #[test]
    fn a_lease_counts_from_before_its_round() {
        let mut trio = Trio::led();
        let (noted_us, mut out) = (trio.now_us, Vec::new());
        trio.groups[1].step(noted_us, Input::Read(1, ReadMode::Linearizable), &mut out);
        trio.now_us += GROUP_TICK_US;
        let late: Vec<_> = out.into_iter().filter_map(|output| trio.obey(1, output)).collect();
        late.into_iter().for_each(|(at, input)| trio.step(at, input));
        assert_eq!(trio.answered, [1]);
        assert_eq!(trio.groups[1].lease_until_us(), noted_us + GROUP_LEASE_US);
    }

    /// It may have answered a leader a moment before it ended, which relies on that.
    #[test]
    fn a_replica_that_starts_helps_nobody_for_an_election_timeout() {
        let mut trio = Trio::new();
        let mut helps = |now_us| {
            let mut vote = Message { from: 2, to: 1, term: 9, index: 5, ..Message::default() };
            vote.log_term = 5;
            vote.set_msg_type(MessageType::MsgRequestVote);
            let mut out = Vec::new();
            trio.groups[0].step(now_us, Input::Receive(vote), &mut out);
            !out.is_empty()
        };
        assert!(!helps(GROUP_ELECTION_US - 1));
        assert!(helps(GROUP_ELECTION_US));
    }

    #[test]
    fn the_fate_of_what_a_snapshot_covers_is_not_known() {
        let mut trio = Trio::led();
        trio.cut_off = Some(1);
        trio.step(1, Input::Propose(vec![request(1)]));
        trio.pass(GROUP_CAMPAIGN_TICKS_MIN + 8);
        assert_eq!(trio.leaders(), [3]);
        trio.step(2, Input::Propose(vec![request(2)]));
        let index = trio.groups[2].committed();
        let cut = Cut { index, time_us: 9_000, data: Vec::new(), keep_from: index + 1 };
        trio.step(2, Input::Cut(cut));
        trio.cut_off = None;
        trio.pass(GROUP_HEARTBEAT_TICKS * 3);
        assert_eq!(trio.groups[1].log().first(), index + 1, "it got the snapshot");
        assert_eq!(trio.fates, [(Fate::Uncertain, 1)]);
    }

    #[test]
    fn a_transfer_ends_the_lease_and_moves_the_leadership() {
        let mut trio = Trio::led();
        trio.step(1, Input::Read(1, ReadMode::Linearizable));
        trio.cut_off = Some(2);
        trio.step(1, Input::Transfer(3));
        assert_eq!(trio.groups[1].lease_until_us(), 0);
        trio.cut_off = None;
        trio.step(1, Input::Read(2, ReadMode::Linearizable));
        assert_eq!(trio.answered, [1, 2], "by a round");
        assert_eq!(trio.groups[1].lease_until_us(), 0, "for the rest of the term");
        trio.step(1, Input::Transfer(1));
        trio.pass(GROUP_ELECTION_TICKS + 1);
        trio.step(1, Input::Transfer(1));
        assert_eq!(trio.leaders(), [1]);
    }

    #[test]
    fn ticks_that_were_missed_are_not_made_up_for() {
        let mut trio = Trio::led();
        let before = trio.groups[2].role();
        trio.now_us += GROUP_ELECTION_US + GROUP_TICK_US;
        // A process that was stopped finds all of them at once; its leader is well.
        (0..CAMPAIGN_TICKS_MAX).for_each(|_| trio.step(2, Input::Tick));
        assert_eq!(trio.groups[2].role(), before);
    }

    #[test]
    fn an_acknowledgement_waits_for_the_disk() {
        let mut trio = Trio::led();
        let mut out = Vec::new();
        trio.groups[1].step(trio.now_us, Input::Propose(vec![request(1)]), &mut out);
        let to_first = out.iter().find_map(|output| match output {
            Output::Send(message) if message.to == 1 => Some(message.clone()),
            _ => None,
        });
        let mut out = Vec::new();
        trio.groups[0].step(trio.now_us, Input::Receive(to_first.unwrap()), &mut out);
        let [Output::Persist(write)] = &out[..] else { panic!("{out:?}") };
        let token = write.token;
        let mut out = Vec::new();
        trio.groups[0].step(trio.now_us, Input::Persisted(token), &mut out);
        let [Output::Send(reply)] = &out[..] else { panic!("{out:?}") };
        assert_eq!(reply.get_msg_type(), MessageType::MsgAppendResponse);
    }

    #[test]
    fn a_log_that_is_not_whole_is_refused() {
        let hard_state = HardState { term: 1, commit: 9, ..HardState::default() };
        let snapshot = birth(&[1], 0, b"");
        let start = Start { replica: 1, hard_state, snapshot, entries: vec![], order: vec![] };
        assert!(matches!(Group::new(start, 0), Err(StartError::LogNotWhole)));
    }
}
