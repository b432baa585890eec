//! From what the library has ready to outputs, and back from what the driver has done.
//!
//! ```text
//!   library --- Ready ---> entries, hard state ---> Persist(token) ... Persisted(token) ---.
//!                 |------> messages of a follower or candidate: held until then ----------+-> Send
//!                 |------> messages of a leader: at once, beside its write --------------+-> Send
//!                 `------> committed entries, as far as they are durable here -------------> Apply
//! ```
//!
//! Writes are reported in order, so one queue holds what waits for them. A `Ready` that has nothing
//! to be synced joins the last write in the queue. The commit index alone is not worth a sync: it
//! goes along with the next write, and a leader tells it anew after a restart.

use super::*;
use crate::cluster::core::EntryType;
use crate::cluster::core::replace::read_change;
use raft::Ready;

/// What waits for a write to be durable.
pub(super) struct Held {
    token: u64,
    /// The number of the last `Ready` that is in it.
    ready: Option<u64>,
    messages: Vec<Message>,
    then: Then,
}

/// What follows when a write is durable.
enum Then {
    Nothing,
    /// A snapshot of the own state lets entries before this index go.
    Compact(Snapshot, u64),
    /// A received snapshot is put in the place of the applied state.
    Restore(Snapshot),
}

impl Group {
    /// Has the library go on until it has nothing ready any more.
    pub(super) fn settle(&mut self, now_us: u64, out: &mut Vec<Output>) {
        loop {
            self.keep_rank();
            self.begin_rounds(now_us);
            let messages = std::mem::take(&mut self.raw.raft.msgs);
            let is_quiet = !self.raw.has_ready();
            if is_quiet && (self.leads() || self.held.is_empty()) {
                // Nothing is to be written, and nothing is being written that they promise: as with
                // heartbeats. A `Ready` would hand them out as they are.
                out.extend(messages.into_iter().map(Output::Send));
                break;
            }
            if is_quiet && messages.is_empty() {
                break;
            }
            self.raw.raft.msgs = messages;
            self.take_ready(now_us, out);
        }
        let ready = self.reads.release(self.raw.raft.raft_log.applied());
        if !ready.is_empty() {
            out.push(Output::Answer(ready));
        }
        if self.raw.store().take_wanted() {
            out.push(Output::WantSnapshot);
        }
    }

    fn keep_rank(&mut self) {
        let raft = &self.raw.raft;
        let is_reset = raft.randomized_election_timeout() != self.campaign_ticks;
        let is_new = raft.leader_id != 0 && raft.leader_id != self.last_leader;
        if is_new {
            self.last_leader = raft.leader_id;
        }
        if is_new || is_reset {
            self.rank();
        }
    }

    /// Rounds run for reads that wait, and to keep a lease up while there are reads. Before the
    /// first commit of a term the library would drop them (C5).
    fn begin_rounds(&mut self, now_us: u64) {
        if !self.leads() || !self.raw.raft.commit_to_current_term() {
            return;
        }
        let term = self.raw.raft.term;
        let renews = self.was_read_lately(now_us)
            && !self.lease.is_ended(term)
            && !self.reads.has_round()
            && self.lease.until_us(term) < now_us + GROUP_LEASE_US / 2;
        if renews || self.reads.wants_round() {
            let context = self.reads.begin(term, now_us);
            self.raw.read_index(context);
        }
    }

    pub(super) fn was_read_lately(&self, now_us: u64) -> bool {
        self.read_us.is_some_and(|at| now_us < at + GROUP_READ_IDLE_US)
    }

    fn take_ready(&mut self, now_us: u64, out: &mut Vec<Output>) {
        let mut ready = self.raw.ready();
        self.note_role(now_us, out);
        self.confirm_rounds(&mut ready);
        out.extend(ready.take_messages().into_iter().map(Output::Send));
        let number = ready.number();
        let waits = self.write(&mut ready, out);
        let (messages, committed) =
            (ready.take_persisted_messages(), ready.take_committed_entries());
        self.raw.advance_append_async(ready);
        match self.held.back_mut().filter(|_| waits) {
            Some(last) => {
                last.ready = Some(number);
                last.messages.extend(messages);
            }
            None => {
                self.raw.on_persist_ready(number);
                out.extend(messages.into_iter().map(Output::Send));
            }
        }
        self.emit_committed(committed, out);
    }

    fn note_role(&mut self, now_us: u64, out: &mut Vec<Output>) {
        let raft = &self.raw.raft;
        let role = Role { role: raft.state, term: raft.term, leader: raft.leader_id };
        if role == self.role {
            return;
        }
        let led = self.role.role == StateRole::Leader;
        if role.role == StateRole::Leader && (!led || role.term != self.role.term) {
            self.clock = LogClock::starting(self.last_time_us(), now_us);
        }
        if led && (role.role != StateRole::Leader || role.term != self.role.term) {
            let lost = self.reads.abandon();
            if !lost.is_empty() {
                out.push(Output::Fate(Fate::Refused, lost));
            }
        }
        self.role = role;
        out.push(Output::Role(role));
    }

    /// Log time of the last record that has one.
    fn last_time_us(&self) -> u64 {
        let tail = self.raw.store();
        let unstable = self.raw.raft.raft_log.unstable_entries().iter().rev();
        let mut entries = unstable.chain(tail.newest_first());
        let of_entry = entries.find_map(|entry| entry::time_of(&entry.data));
        let of_snapshot = || entry::split_time(&tail.snapshot_at_hand().data).map(|(time, _)| time);
        of_entry.or_else(of_snapshot).unwrap_or_default()
    }

    /// A round counts if this replica leads in the term of the round, after everything that came in
    /// with the confirmation (C5).
    fn confirm_rounds(&mut self, ready: &mut Ready) {
        for state in ready.take_read_states() {
            if !self.leads() {
                continue;
            }
            let term = self.raw.raft.term;
            if let Some(noted_us) = self.reads.confirm(&state.request_ctx, term, state.index) {
                self.lease.confirm(term, noted_us);
            }
        }
    }

    /// Hands over what is to be durable. True if what promises it must wait for that, or for what
    /// was handed over before.
    fn write(&mut self, ready: &mut Ready, out: &mut Vec<Output>) -> bool {
        if !ready.must_sync() {
            return !self.held.is_empty();
        }
        let mut then = Then::Nothing;
        let mut checkpoint = None;
        if ready.snapshot().get_metadata().index > 0 {
            let snapshot = ready.snapshot().clone();
            self.receive_snapshot(&snapshot, out);
            checkpoint = Some(Checkpoint::Received(snapshot.clone()));
            then = Then::Restore(snapshot);
        }
        let entries = ready.take_entries();
        self.raw.mut_store().append(&entries);
        self.persist(entries, checkpoint, then, out);
        true
    }

    fn receive_snapshot(&mut self, snapshot: &Snapshot, out: &mut Vec<Output>) {
        let meta = snapshot.get_metadata();
        self.raw.mut_store().replace(snapshot.clone());
        self.configurations = [(meta.index, meta.get_conf_state().clone())].into();
        self.rank();
        let uncertain = self.open.skip_to(meta.index);
        if !uncertain.is_empty() {
            out.push(Output::Fate(Fate::Uncertain, uncertain));
        }
    }

    fn persist(
        &mut self,
        entries: Vec<Entry>,
        checkpoint: Option<Checkpoint>,
        then: Then,
        out: &mut Vec<Output>,
    ) {
        let hard_state = self.raw.raft.hard_state();
        self.raw.mut_store().set_hard_state(hard_state.clone());
        self.token += 1;
        let token = self.token;
        self.held.push_back(Held { token, ready: None, messages: Vec::new(), then });
        out.push(Output::Persist(Persist { token, hard_state, entries, checkpoint }));
    }

    fn emit_committed(&mut self, entries: Vec<Entry>, out: &mut Vec<Output>) {
        if entries.is_empty() {
            return;
        }
        let mut lost = Vec::new();
        let committed = entries.into_iter().map(|mut entry| {
            if entry.get_entry_type() != EntryType::EntryNormal {
                self.reconfigure(&entry);
                entry.data.clear();
            }
            let (index, term) = (entry.index, entry.term);
            let (tickets, not_applied) = self.open.decide(index, term);
            lost.extend(not_applied);
            Committed { index, term, data: Data(entry), tickets }
        });
        let committed = committed.collect();
        out.push(Output::Apply(committed));
        if !lost.is_empty() {
            out.push(Output::Fate(Fate::NotApplied, lost));
        }
    }

    /// A change that does not fit the configuration is passed over, on every replica alike.
    fn reconfigure(&mut self, entry: &Entry) {
        let Some(change) = read_change(&entry.data) else { return };
        let conf = self.members();
        let lists = [&conf.voters, &conf.voters_outgoing, &conf.learners, &conf.learners_next];
        let members: usize = lists.into_iter().map(Vec::len).sum();
        if members + change.get_changes().len() > GROUP_MEMBERS_MAX {
            return;
        }
        if let Ok(conf) = self.raw.apply_conf_change(&change) {
            self.configurations.push_back((entry.index, conf));
            self.rank();
        }
        // The library would look for the progress of a leader that is no member, and panic.
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Leader && raft.prs().get(raft.id).is_none() {
            raft.become_follower(raft.term, 0);
        }
    }

    /// Everything up to `token` is durable: promises may leave, and what waited for it follows.
    pub(super) fn persisted(&mut self, token: u64, out: &mut Vec<Output>) {
        while let Some(held) = self.held.pop_front_if(|held| held.token <= token) {
            if let Some(number) = held.ready {
                self.raw.on_persist_ready(number);
            }
            match held.then {
                Then::Nothing => {}
                Then::Compact(snapshot, keep_from) => self.compact(snapshot, keep_from),
                Then::Restore(snapshot) => out.push(Output::Restore(snapshot)),
            }
            out.extend(held.messages.into_iter().map(Output::Send));
        }
    }

    /// Makes a snapshot of the applied state the beginning of the log: first durable, with a commit
    /// index that covers it, and only then is the log let go (C13).
    pub(super) fn cut(&mut self, cut: Cut, out: &mut Vec<Output>) {
        let tail = self.raw.store();
        let is_newer = cut.index > tail.snapshot_at_hand().get_metadata().index;
        let is_applied = cut.index <= self.raw.raft.raft_log.applied();
        let Some(term) = tail.term_at(cut.index).filter(|_| is_newer && is_applied) else {
            return;
        };
        let holds = |(from, _): &&(u64, ConfState)| *from <= cut.index;
        let conf = self.configurations.iter().rev().find(holds).expect("back to the snapshot");
        let mut snapshot = Snapshot::default();
        let meta = snapshot.mut_metadata();
        (meta.index, meta.term) = (cut.index, term);
        meta.set_conf_state(conf.1.clone());
        snapshot.data = entry::with_time(cut.time_us, &cut.data).into();
        let then = Then::Compact(snapshot.clone(), cut.keep_from.min(cut.index + 1));
        self.persist(Vec::new(), Some(Checkpoint::Own(snapshot)), then, out);
    }

    fn compact(&mut self, snapshot: Snapshot, keep_from: u64) {
        let index = snapshot.get_metadata().index;
        // A newer one may have been received meanwhile.
        if index <= self.raw.store().snapshot_at_hand().get_metadata().index {
            return;
        }
        self.raw.mut_store().compact(snapshot, keep_from);
        while self.configurations.get(1).is_some_and(|(from, _)| *from <= index) {
            self.configurations.pop_front();
        }
    }
}
