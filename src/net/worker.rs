//! A worker: waits for events, runs the turns of connections, ticks.
//!
//! One round: collect events; run their connections' turns; run what stands in the ready ring,
//! at most as much as stood there at the start; let the service settle what they left, and send
//! the replies that this releases; tick if it is time. It sleeps in `epoll_wait`
//! only after it has announced that and has found the ring empty ([`crate::sync::park`]).

use super::hub::{ConnId, Hub};
use super::scratch::RequestScratch;
use super::service::{Service, TickOutcome};
use super::turn::{Link, TurnContext, Verdict};
use crate::limits::{EPOLL_EVENTS, SHARE_EVENTS_ABOVE, TICK_MS};
use crate::sync::turn::{Finish, Turn, flags};
use crate::sys::clock;
use crate::sys::epoll::{Event, Events};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;

/// Tokens that are no connection: their upper half is a generation that never occurs (even
/// generations are vacant).
pub(super) const TOKEN_BELL: u64 = 0;
pub(super) const TOKEN_LISTENER: u64 = 1;
const TOKEN_LISTENERS_END: u64 = TOKEN_LISTENER + 1024;

struct Worker<'h, S: Service> {
    hub: &'h Hub<S>,
    index: usize,
    scratch: RequestScratch,
    local: S::Local,
    events: Events,
    next_tick_ns: u64,
    /// The tick left work behind.
    more: bool,
    /// Connections whose replies are held, with the LSN they wait for, the lowest first.
    held: BinaryHeap<Reverse<(u64, u64)>>,
}

/// Runs worker `index` of the hub on this thread until the hub is stopped. Worker 0 accepts.
pub fn run_worker<S: Service>(hub: &Hub<S>, index: usize) {
    let mut worker = Worker {
        hub,
        index,
        scratch: RequestScratch::new(),
        local: hub.service.local(index),
        events: Events::with_capacity(EPOLL_EVENTS),
        next_tick_ns: clock::monotonic_ns(),
        more: false,
        held: BinaryHeap::new(),
    };
    while !hub.is_stopping() {
        worker.round();
    }
    worker.close_all();
}

impl<S: Service> Worker<'_, S> {
    fn round(&mut self) {
        let count = self.wait();
        let mine = self.share(count);
        for at in 0..mine {
            let Some(event) = self.events.get(at) else { break };
            self.on_event(event);
        }
        self.run_ready();
        self.hub.service.settle(&mut self.local);
        self.release();
        self.tick();
    }

    /// Runs the connections whose replies may leave now.
    fn release(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let released = self.hub.service.released_lsn();
        while let Some(Reverse((after, bits))) = self.held.peek().copied()
            && after <= released
        {
            self.held.pop();
            self.run_held(ConnId::from_bits(bits));
        }
        if self.hub.service.gives_up() {
            // Their turns find it out, and tell their clients.
            for Reverse((_, bits)) in std::mem::take(&mut self.held) {
                self.run_held(ConnId::from_bits(bits));
            }
        }
    }

    fn run_held(&mut self, id: ConnId) {
        let Some(slot) = self.hub.slot(id.index) else { return };
        if let Some(turn) = slot.cell.start(id.generation, flags::WRITABLE) {
            self.run(id, turn);
        }
    }

    /// Says what this worker waits for; false if that was released already.
    fn may_sleep(&self) -> bool {
        let Some(Reverse((after, _))) = self.held.peek() else { return true };
        // Relaxed: the fence orders it.
        self.hub.posts[self.index].awaited.store(*after, Relaxed);
        // SeqCst: pairs with the fence in `Hub::released`.
        fence(SeqCst);
        self.hub.service.released_lsn() < *after
    }

    /// Collects events; sleeps if there is nothing else to do.
    fn wait(&mut self) -> usize {
        let post = &self.hub.posts[self.index];
        if self.more || !self.hub.ring.is_empty() {
            return post.epoll.wait(&mut self.events, Some(0)).unwrap_or(0);
        }
        if let Some(count) = self.busy_poll() {
            return count;
        }
        self.hub.service.idle(&mut self.local);
        let parker = self.hub.parker(self.index);
        parker.prepare_park();
        let sleep_ns = self.next_tick_ns.saturating_sub(clock::monotonic_ns());
        let mut timeout = (sleep_ns / 1_000_000 + 1).min(TICK_MS) as u32;
        if !self.hub.ring.is_empty() || self.hub.is_stopping() || !self.may_sleep() {
            timeout = 0;
        }
        // A wait that fails finds nothing; the next round tries again after the tick.
        let count = post.epoll.wait(&mut self.events, Some(timeout)).unwrap_or(0);
        parker.cancel();
        count
    }

    /// Looks for events without sleeping, for as long as the options allow.
    fn busy_poll(&mut self) -> Option<usize> {
        let limit_us = self.hub.options().busy_poll_us;
        if limit_us == 0 {
            return None;
        }
        let until = clock::monotonic_ns() + limit_us * 1000;
        let post = &self.hub.posts[self.index];
        while clock::monotonic_ns() < until && self.hub.ring.is_empty() {
            let count = post.epoll.wait(&mut self.events, Some(0)).unwrap_or(0);
            if count > 0 {
                return Some(count);
            }
        }
        None
    }

    /// Gives half of a large batch of events to a sleeping peer. Waking a core costs about as
    /// much as eight one-command turns, so a small batch is served faster here.
    /// Returns how many are left for this worker, the first ones.
    fn share(&mut self, count: usize) -> usize {
        if count <= SHARE_EVENTS_ABOVE || !self.hub.has_sleeper(self.index) {
            return count;
        }
        let keep = count.div_ceil(2);
        for at in keep..count {
            let Some(event) = self.events.get(at) else { break };
            match event.token {
                token if token < TOKEN_LISTENERS_END => self.on_event(event),
                token => self.hub.note(ConnId::from_bits(token), noted(event)),
            }
        }
        keep
    }

    fn on_event(&mut self, event: Event) {
        match event.token {
            TOKEN_BELL => {} // Edge-triggered: the ring, which is looked at next, is the message.
            token if token < TOKEN_LISTENERS_END => {
                self.hub.accept((token - TOKEN_LISTENER) as usize);
            }
            token => {
                let id = ConnId::from_bits(token);
                let Some(slot) = self.hub.slot(id.index) else { return };
                if let Some(turn) = slot.cell.start(id.generation, noted(event)) {
                    self.run(id, turn);
                }
            }
        }
    }

    /// Runs what stands in the ring now; what is pushed meanwhile waits for the next round.
    fn run_ready(&mut self) {
        for _ in 0..self.hub.ring.len() {
            let Some(bits) = self.hub.ring.pop() else { break };
            let id = ConnId::from_bits(bits);
            let Some(slot) = self.hub.slot(id.index) else { continue };
            if let Some(turn) = slot.cell.enter(id.generation) {
                self.run(id, turn);
            }
        }
    }

    fn run(&mut self, id: ConnId, mut turn: Turn<'_, Link<S>>) {
        let Some(slot) = self.hub.slot(id.index) else { return };
        let noted = turn.take_flags();
        let mut context = TurnContext {
            hub: self.hub,
            scratch: &mut self.scratch,
            local: &mut self.local,
            id,
            card: &slot.card,
        };
        match turn.turn(&mut context, noted) {
            Verdict::Close => self.hub.close_turn(id, turn),
            Verdict::Yield => {
                turn.requeue();
                // This worker looks at the ring before it sleeps; with more than one in it a
                // sleeping peer is worth its waking.
                match self.hub.ring.is_empty() {
                    true => self.hub.push_ready_quietly(id),
                    false => self.hub.push_ready(id),
                }
            }
            Verdict::Wait => {
                if let Some(after) = turn.newly_held() {
                    self.held.push(Reverse((after, id.to_bits())));
                }
                if turn.finish() == Finish::Again {
                    self.hub.push_ready_quietly(id);
                }
            }
        }
    }

    fn tick(&mut self) {
        let now = clock::monotonic_ns();
        if now < self.next_tick_ns && !self.more {
            return;
        }
        if now >= self.next_tick_ns {
            self.next_tick_ns = now + TICK_MS * 1_000_000;
            if self.index == 0 {
                self.hub.watch_listeners();
            }
        }
        let outcome = self.hub.service.tick(self.hub, &mut self.local, self.index);
        self.more = outcome == TickOutcome::More;
    }

    /// The hub stops: every connection of this worker is closed.
    fn close_all(&mut self) {
        self.hub.for_each(|id, card| {
            if card.worker.load(Relaxed) as usize != self.index {
                return;
            }
            let Some(slot) = self.hub.slot(id.index) else { return };
            if let Some(turn) = slot.cell.start(id.generation, flags::KILL) {
                self.hub.close_turn(id, turn);
            }
        });
    }
}

/// An event as the notes of a turn.
fn noted(event: Event) -> u32 {
    let mut noted = 0;
    if event.readable() {
        noted |= flags::UNREAD;
    }
    if event.writable() {
        noted |= flags::WRITABLE;
    }
    if event.rdhup() {
        noted |= flags::RDHUP;
    }
    if event.hangup() {
        noted |= flags::HANGUP;
    }
    if event.error() {
        noted |= flags::ERROR;
    }
    noted
}
