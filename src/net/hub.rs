//! All connections and workers of the process: who is where, and how to reach them.

use super::card::Card;
use super::listener::{Gate, Listener};
use super::service::Service;
use super::turn::Link;
use super::worker::{TOKEN_BELL, TOKEN_LISTENER};
use crate::limits::{CONNECTION_CHUNK, CONNECTIONS_MAX};
use crate::sync::park::Parker;
use crate::sync::ring::Ring;
use crate::sync::turn::{Notify, Turn, TurnCell, flags};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::eventfd::EventFd;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Names a connection: its slot, and which life of the slot. A stale id reaches nobody.
pub use crate::sync::turn::Handle as ConnId;

pub(super) struct Slot<S: Service> {
    pub(super) card: Card,
    pub(super) cell: TurnCell<Link<S>>,
}

/// Slots that were allocated together.
type Chunk<S> = Box<[Slot<S>]>;

/// How others reach a worker.
pub(super) struct Post {
    pub(super) epoll: Epoll,
    pub(super) bell: EventFd,
    pub(super) connections: AtomicUsize,
    /// The lowest LSN that the sleeping worker holds replies for; `u64::MAX`: none.
    pub(super) awaited: AtomicU64,
}

/// How a hub is set up.
#[derive(Clone, Copy, Debug)]
pub struct HubOptions {
    /// Worker threads, 1 to `limits::WORKERS_MAX`.
    pub workers: usize,
    /// Workers look for work this many microseconds before they sleep.
    pub busy_poll_us: u64,
}

/// Free slots: given back ones first, then fresh ones.
struct Free {
    given_back: Vec<u32>,
    fresh: u32,
}

/// All connections and workers.
pub struct Hub<S: Service> {
    /// Meaning of requests.
    pub service: S,
    options: HubOptions,
    chunks: Box<[OnceLock<Chunk<S>>]>,
    free: Mutex<Free>,
    open: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    pub(super) ring: Ring,
    pub(super) posts: Box<[Post]>,
    parkers: Box<[Parker]>,
    gate: Mutex<Gate>,
    stopping: AtomicBool,
}

impl<S: Service> Hub<S> {
    /// A hub without connections. An error if epoll or eventfd cannot be had.
    pub fn new(service: S, options: HubOptions) -> io::Result<Hub<S>> {
        assert!(options.workers >= 1 && options.workers <= crate::limits::WORKERS_MAX);
        let mut posts = Vec::with_capacity(options.workers);
        for _ in 0..options.workers {
            let post = Post {
                epoll: Epoll::new()?,
                bell: EventFd::new()?,
                connections: AtomicUsize::new(0),
                awaited: AtomicU64::new(u64::MAX),
            };
            post.epoll.add(&post.bell, TOKEN_BELL, Interest::WAKEUP)?;
            posts.push(post);
        }
        Ok(Hub {
            service,
            options,
            chunks: (0..CONNECTIONS_MAX / CONNECTION_CHUNK).map(|_| OnceLock::new()).collect(),
            free: Mutex::new(Free { given_back: Vec::new(), fresh: 0 }),
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            ring: Ring::with_capacity(CONNECTIONS_MAX),
            posts: posts.into(),
            parkers: (0..options.workers).map(|_| Parker::new()).collect(),
            gate: Mutex::new(Gate::new()),
            stopping: AtomicBool::new(false),
        })
    }

    /// How the hub was set up.
    pub fn options(&self) -> HubOptions {
        self.options
    }

    /// Exchanges the sockets that connections are accepted from. Nobody is accepted while `change`
    /// runs; a listener that it drops is closed at once.
    pub fn change_listeners<R>(&self, change: impl FnOnce(&mut Vec<Listener>) -> R) -> R {
        self.lock_gate().change(&self.posts[0].epoll, TOKEN_LISTENER, change)
    }

    /// Accepts from the listener that has `place` in the list.
    pub(super) fn accept(&self, place: usize) {
        self.lock_gate().accept(self, &self.posts[0].epoll, place);
    }

    /// Watches the listeners, if they are not watched already.
    pub(super) fn watch_listeners(&self) {
        self.lock_gate().watch(&self.posts[0].epoll, TOKEN_LISTENER);
    }

    fn lock_gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections open now.
    pub fn open_count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections accepted since the start; those refused are not counted.
    pub fn accepted_count(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections refused since the start because there were too many.
    pub fn refused_count(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections that wait for their turn now.
    pub fn ready_count(&self) -> usize {
        self.ring.len()
    }

    /// The public side of a connection, if it is still the one meant.
    pub fn card(&self, id: ConnId) -> Option<&Card> {
        let slot = self.slot(id.index)?;
        slot.cell.is_occupied_by(id.generation).then_some(&slot.card)
    }

    /// Visits every open connection.
    pub fn for_each(&self, mut visit: impl FnMut(ConnId, &Card)) {
        for (chunk_index, chunk) in self.chunks.iter().enumerate() {
            let Some(slots) = chunk.get() else { break };
            for (place, slot) in slots.iter().enumerate() {
                if slot.card.is_open() {
                    let index = (chunk_index * CONNECTION_CHUNK + place) as u32;
                    visit(ConnId { index, generation: slot.card.generation() }, &slot.card);
                }
            }
        }
    }

    /// Leaves encoded bytes for a connection; they go out in order with its other replies.
    /// False when the connection is gone. One above its hard output limit is closed.
    /// It waits until `after` is released.
    pub fn send(&self, id: ConnId, message: &Arc<[u8]>, after: u64) -> bool {
        let Some(card) = self.card(id) else { return false };
        if !card.leave(id.generation, message.clone(), after) {
            return false;
        }
        let hard = self.service.bounds(card).output_hard;
        if hard != 0 && card.unsent_bytes() > hard {
            self.kill(id);
        } else {
            self.note(id, flags::INBOX);
        }
        true
    }

    /// Closes a connection as soon as its turn allows; unsent replies are dropped.
    pub fn kill(&self, id: ConnId) {
        self.note(id, flags::KILL);
    }

    /// Gives a parked connection another turn.
    pub fn resume(&self, id: ConnId) {
        self.note(id, flags::WAKE);
    }

    /// The service released more than before: workers that hold replies for it are woken, each
    /// once, however many connections wait.
    pub fn released(&self) {
        // SeqCst: pairs with the fence in the worker's `may_sleep`: either we see what it waits
        // for, or it sees what was released.
        fence(Ordering::SeqCst);
        let released = match self.service.gives_up() {
            true => u64::MAX - 1,
            false => self.service.released_lsn(),
        };
        for (worker, post) in self.posts.iter().enumerate() {
            // Relaxed: the numbers carry no other data; the fences order them.
            let awaited = post.awaited.load(Ordering::Relaxed);
            if awaited <= released && post.awaited.swap(u64::MAX, Ordering::Relaxed) != u64::MAX {
                self.wake(worker);
            }
        }
    }

    /// Every worker ends its loop after the turns that are under way.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for worker in 0..self.posts.len() {
            self.wake(worker);
        }
    }

    /// True once [`Hub::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Holds a tenth of the connections to their bounds; called ten times a second.
    pub fn sweep(&self, now_ms: u64) {
        let tenth = now_ms / 100 % 10;
        self.for_each(|id, card| {
            if id.index as u64 % 10 == tenth && !self.is_within_bounds(card, now_ms) {
                self.kill(id);
            }
        });
    }

    fn is_within_bounds(&self, card: &Card, now_ms: u64) -> bool {
        let bounds = self.service.bounds(card);
        let silent_ms = now_ms.saturating_sub(card.active_ms.load(Ordering::Relaxed));
        if bounds.idle_ms != 0 && silent_ms > bounds.idle_ms {
            return false;
        }
        let unsent = card.unsent_bytes();
        if bounds.output_hard != 0 && unsent > bounds.output_hard {
            return false;
        }
        if bounds.output_soft == 0 || unsent <= bounds.output_soft {
            card.soft_since_ms.store(0, Ordering::Relaxed);
            return true;
        }
        match card.soft_since_ms.load(Ordering::Relaxed) {
            0 => card.soft_since_ms.store(now_ms, Ordering::Relaxed),
            since => return now_ms.saturating_sub(since) <= bounds.soft_ms,
        }
        true
    }

    pub(super) fn slot(&self, index: u32) -> Option<&Slot<S>> {
        let index = index as usize;
        self.chunks.get(index / CONNECTION_CHUNK)?.get()?.get(index % CONNECTION_CHUNK)
    }

    pub(super) fn parker(&self, worker: usize) -> &Parker {
        &self.parkers[worker]
    }

    /// Notes `why` for a connection and sees to it that its turn comes.
    pub(super) fn note(&self, id: ConnId, why: u32) {
        let Some(slot) = self.slot(id.index) else { return };
        if slot.cell.notify(id.generation, why) == Notify::Run {
            self.push_ready(id);
        }
    }

    /// Puts a connection that was just made `queued` into the ring, and wakes a sleeper.
    pub(super) fn push_ready(&self, id: ConnId) {
        self.push_ready_quietly(id);
        if let Some(worker) = crate::sync::park::wake_one(self.parkers.iter()) {
            self.wake(worker);
        }
    }

    /// As [`Hub::push_ready`] by a worker that will look at the ring before it sleeps. A sleeper
    /// is woken only if more waits than this worker soon gets to.
    pub(super) fn push_ready_quietly(&self, id: ConnId) {
        let pushed = self.ring.push(id.to_bits());
        // A connection is in the ring at most once, and there is a place for each.
        assert!(pushed.is_ok(), "the ready ring is full");
    }

    /// True when a worker other than `me` sleeps; a hint.
    pub(super) fn has_sleeper(&self, me: usize) -> bool {
        self.parkers.iter().enumerate().any(|(worker, parker)| worker != me && parker.is_idle())
    }

    /// Ends a connection: its descriptor is closed, its slot is free for the next one.
    pub(super) fn close_turn(&self, id: ConnId, turn: Turn<'_, Link<S>>) {
        let Some(slot) = self.slot(id.index) else { return };
        let worker = slot.card.worker.load(Ordering::Relaxed) as usize;
        slot.card.move_out();
        let link = turn.vacate();
        self.service.close(self, id, &slot.card, link.session);
        self.posts[worker].connections.fetch_sub(1, Ordering::Relaxed);
        self.give_back_slot(id.index);
        // Last: whose client sees the end is not counted any more.
        drop(link.fd);
    }

    fn wake(&self, worker: usize) {
        // An eventfd refuses a ring only when it was rung 2^64 - 2 times: it is rung already.
        let _ = self.posts[worker].bell.ring();
    }

    /// A slot for a connection to be accepted; `None` when `max` are open.
    pub(super) fn reserve_slot(&self, max: usize) -> Option<u32> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if self.open.load(Ordering::Relaxed) >= max.min(CONNECTIONS_MAX) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let index = match free.given_back.pop() {
            Some(index) => index,
            None => {
                let index = free.fresh;
                self.chunks[index as usize / CONNECTION_CHUNK].get_or_init(|| {
                    let slot = |_| Slot { card: Card::vacant(), cell: TurnCell::new() };
                    (0..CONNECTION_CHUNK).map(slot).collect()
                });
                free.fresh += 1;
                index
            }
        };
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(index)
    }

    /// Takes back a slot whose connection is closed (or never came to be).
    pub(super) fn give_back_slot(&self, index: u32) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.given_back.push(index);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The worker with the fewest connections.
    pub(super) fn least_loaded(&self) -> usize {
        let load = |worker: &usize| self.posts[*worker].connections.load(Ordering::Relaxed);
        (0..self.posts.len()).min_by_key(load).unwrap_or(0)
    }

    pub(super) fn next_id(&self) -> u64 {
        self.accepted.fetch_add(1, Ordering::Relaxed) + 1
    }
}
