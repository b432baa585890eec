//! Exclusive ownership of a connection's state, without a lock and without a queue of its own.
//!
//! Readiness comes from several sides at once: its epoll event, the WAL, a publisher, a CLIENT
//! KILL. Whoever has something to say *notes* it in the state word; exactly one thread at a time
//! has the *turn* and may touch the value.
//!
//! ```text
//!   63           32 31            2 1    0
//!   |  generation  |     flags     |state|
//!
//!                notify: Run                enter
//!         Idle ----------------> Queued -----------> Running --. notify: Noted
//!          ^  \                    ^  \ notify: Noted  |  ^     |
//!          |   `-- start ----------+---'---------------+--'     v
//!          |                       |                   |     Dirty
//!          |      finish: Idle     |  requeue          |       |
//!          `-----------------------+-------------------'       |
//!                                  `--- finish: Again ---------'
//! ```
//!
//! Invariants:
//! - *one runner*: the value is touched only between a transition into Running (Acquire) and the
//!   one out of it (Release); all transitions are compare-and-swaps of one word;
//! - *in the ring at most once*: only the transition into Queued asks for a push, and there is
//!   exactly one (`Notify::Run`, `Finish::Again`, `requeue`) per way into it;
//! - *nothing noted is lost*: a note either makes the cell Queued, or finds it Queued (the coming
//!   turn takes the flags), or makes it Dirty (the turn under way cannot end in Idle);
//! - *a stale handle is harmless*: the generation is part of every compare-and-swap. It is odd
//!   while the cell is occupied and even while it is vacant, and changes at both ends.
//!
//! Deliberately absent: what the flags mean to the runner, and the ring.

use super::primitive::{AtomicU64, MutPtr, Ordering, Site, UnsafeCell, ordering, skips};
use Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::ops::{Deref, DerefMut};

/// What anybody may note about a connection. Sticky until the runner takes them.
pub mod flags {
    /// There may be input that was not read.
    pub const UNREAD: u32 = 1 << 0;
    /// The socket takes output again.
    pub const WRITABLE: u32 = 1 << 1;
    /// The peer has shut down its sending side (RDHUP): read to the end, answer, close.
    pub const RDHUP: u32 = 1 << 2;
    /// Both directions are gone (HUP).
    pub const HANGUP: u32 = 1 << 3;
    /// The socket has an error (ERR).
    pub const ERROR: u32 = 1 << 4;
    /// Somebody wants this connection closed.
    pub const KILL: u32 = 1 << 5;
    /// There is a message in the inbox.
    pub const INBOX: u32 = 1 << 6;
    /// A watermark has passed what the connection waits for.
    pub const WAKE: u32 = 1 << 7;
    /// A deadline of the connection has passed.
    pub const TIMEOUT: u32 = 1 << 8;
    /// The turn before was cut off by its budget.
    pub const BUDGET: u32 = 1 << 9;
    /// Every flag that the state word has room for; those not named above are free for use.
    pub const ALL: u32 = (1 << 30) - 1;
}

const STATE: u64 = 0b11;
const IDLE: u64 = 0;
const QUEUED: u64 = 1;
const RUNNING: u64 = 2;
/// Running, and something was noted since.
const DIRTY: u64 = 3;
const FLAGS_SHIFT: u32 = 2;
const FLAGS: u64 = (flags::ALL as u64) << FLAGS_SHIFT;
const GENERATION_SHIFT: u32 = 32;

/// A name for one occupant of one cell of a table: eight bytes, as the ring carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// Place in the table.
    pub index: u32,
    /// What [`TurnCell::occupy`] returned.
    pub generation: u32,
}

impl Handle {
    /// As one word.
    #[inline]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// From one word.
    #[inline]
    pub const fn from_bits(bits: u64) -> Handle {
        Handle { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// What became of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "after `Run` the caller must push the handle, or nobody ever runs it"]
pub enum Notify {
    /// The occupant is gone; nothing was noted.
    Stale,
    /// It was idle and is queued now: the caller pushes it to the ring, or enters it.
    Run,
    /// It is queued or running: its runner will see the note.
    Noted,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "after `Again` the caller must push the handle, or nobody ever runs it"]
pub enum Finish {
    /// Nobody noted anything meanwhile.
    Idle,
    /// Something was noted: the cell is queued, and the caller pushes it to the ring.
    Again,
}

/// A place for one `T` and the word that says whose turn it is.
pub struct TurnCell<T> {
    word: AtomicU64,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: [sync-002] I-TURN: the word admits one runner at a time and orders one after the other,
// so the value only moves between threads, for which `Send` is enough.
unsafe impl<T: Send> Sync for TurnCell<T> {}

impl<T> Default for TurnCell<T> {
    fn default() -> TurnCell<T> {
        TurnCell::new()
    }
}

impl<T> TurnCell<T> {
    /// A vacant cell.
    pub fn new() -> TurnCell<T> {
        TurnCell { word: AtomicU64::new(IDLE), value: UnsafeCell::new(None) }
    }

    /// Puts `value` into the cell, idle, and returns the generation that names it from now on.
    /// The caller owns the free place: to occupy a cell that is not vacant is our own bug.
    pub fn occupy(&self, value: T) -> u32 {
        let vacant = self.word.load(Relaxed);
        let generation = generation_of(vacant);
        assert!(generation.is_multiple_of(2), "the cell is occupied");
        assert_eq!(vacant & STATE, IDLE, "the cell is being occupied");
        // Acquire: pairs with the Release in `vacate`; the old value is out before ours comes in.
        let claimed =
            self.word.compare_exchange(vacant, pack(generation, RUNNING), Acquire, Relaxed);
        assert!(claimed.is_ok(), "two acceptors have the same free place");
        {
            let place = self.value.get_mut();
            // SAFETY: [sync-003] I-TURN: the claim above made us the one runner.
            *unsafe { place.deref() } = Some(value);
        }
        // Release: pairs with the Acquire in `enter` and `start`.
        self.word.store(pack(generation.wrapping_add(1), IDLE), Release);
        generation.wrapping_add(1)
    }

    /// Notes `noted` for the occupant of that generation.
    ///
    /// What the caller wrote before (a message into the inbox, say) is visible to the turn that
    /// takes the flags.
    pub fn notify(&self, generation: u32, noted: u32) -> Notify {
        match self.note(generation, noted, QUEUED) {
            None => Notify::Stale,
            Some(IDLE) => Notify::Run,
            Some(_) => Notify::Noted,
        }
    }

    /// Starts a turn at once if the occupant is idle (one compare-and-swap); else notes `noted`,
    /// for which the runner will come back. `None` also if the occupant is gone.
    pub fn start(&self, generation: u32, noted: u32) -> Option<Turn<'_, T>> {
        match self.note(generation, noted, RUNNING) {
            Some(IDLE) => Some(self.turn()),
            _ => None,
        }
    }

    /// Starts the turn that `Notify::Run`, `Finish::Again` or `requeue` asked for. `None` if the
    /// occupant is gone (a queued cell cannot be vacated, so that is somebody else's handle).
    pub fn enter(&self, generation: u32) -> Option<Turn<'_, T>> {
        let mut word = self.word.load(Relaxed);
        loop {
            if !is_of(word, generation) || word & STATE != QUEUED {
                return None;
            }
            // Acquire: pairs with the Release of the last runner, and of who noted.
            let order = ordering(Site::TurnEnter, Acquire);
            let running = word & !STATE | RUNNING;
            match self.word.compare_exchange_weak(word, running, order, Relaxed) {
                Ok(_) => return Some(self.turn()),
                Err(now) => word = now,
            }
        }
    }

    /// Whether this generation still occupies the cell; a hint unless the caller has the turn.
    pub fn is_occupied_by(&self, generation: u32) -> bool {
        is_of(self.word.load(Relaxed), generation)
    }

    /// Adds flags and moves the state on: an idle cell to `from_idle`, a running one to dirty.
    /// The state before, or `None` if the generation is another.
    fn note(&self, generation: u32, noted: u32, from_idle: u64) -> Option<u64> {
        debug_assert!(noted <= flags::ALL);
        let mut word = self.word.load(Relaxed);
        loop {
            if !is_of(word, generation) {
                return None;
            }
            let state = match word & STATE {
                IDLE => from_idle,
                QUEUED => QUEUED,
                _ => DIRTY,
            };
            let next = word & !STATE | u64::from(noted) << FLAGS_SHIFT | state;
            // AcqRel: Release pairs with the Acquire of the runner who takes the flags, Acquire
            // (for `start`) with the Release of the last runner. Even a note that changes nothing
            // is written: without the Release the runner might not see what it announces.
            let order = ordering(Site::TurnNotify, AcqRel);
            match self.word.compare_exchange_weak(word, next, order, Relaxed) {
                Ok(_) => return Some(word & STATE),
                Err(now) => word = now,
            }
        }
    }

    /// One try to leave Running; the word as it is now if it has changed.
    fn leave(&self, word: u64, next: u64) -> Result<(), u64> {
        // Release: pairs with the Acquire of the next runner.
        let order = ordering(Site::TurnFinish, Release);
        self.word.compare_exchange_weak(word, next, order, Relaxed).map(drop)
    }

    fn turn(&self) -> Turn<'_, T> {
        Turn { cell: self, place: self.value.get_mut() }
    }
}

/// The right to touch the value. It must be given back: by [`finish`](Turn::finish),
/// [`requeue`](Turn::requeue) or [`vacate`](Turn::vacate). One that is dropped (a panic) leaves
/// its cell running for ever: leaked, but never shared.
#[must_use = "a turn that is dropped is never given back"]
pub struct Turn<'a, T> {
    cell: &'a TurnCell<T>,
    place: MutPtr<Option<T>>,
}

impl<'a, T> Turn<'a, T> {
    /// The generation of the occupant.
    pub fn generation(&self) -> u32 {
        generation_of(self.cell.word.load(Relaxed))
    }

    /// Takes what was noted so far. What is noted later makes the cell dirty, and there will be
    /// another turn. So take first, and then look at what the flags announce.
    #[inline]
    pub fn take_flags(&mut self) -> u32 {
        // Relaxed: to take nothing orders nothing.
        if self.cell.word.load(Relaxed) & FLAGS == 0 {
            return 0;
        }
        // Acquire: pairs with the Release of who noted.
        flags_of(self.cell.word.fetch_and(!FLAGS, Acquire))
    }

    /// What is noted, without taking it; for a look in the middle of a long turn.
    #[inline]
    pub fn flags(&self) -> u32 {
        flags_of(self.cell.word.load(Relaxed))
    }

    /// Ends the turn.
    #[inline]
    pub fn finish(self) -> Finish {
        let mut word = self.cell.word.load(Relaxed);
        let cell = self.give_up_place();
        loop {
            let dirty = word & STATE == DIRTY && !skips(Site::TurnDirty);
            let (state, end) = if dirty { (QUEUED, Finish::Again) } else { (IDLE, Finish::Idle) };
            match cell.leave(word, word & !STATE | state) {
                Ok(()) => return end,
                Err(now) => word = now,
            }
        }
    }

    /// Ends the turn with work left over: the cell is queued, and the caller pushes it.
    pub fn requeue(self) {
        let mut word = self.cell.word.load(Relaxed);
        let cell = self.give_up_place();
        while let Err(now) = cell.leave(word, word & !STATE | QUEUED) {
            word = now;
        }
    }

    /// Takes the value out. The cell is vacant, and every handle to it is stale.
    pub fn vacate(self) -> T {
        let mut word = self.cell.word.load(Relaxed);
        // SAFETY: [sync-004] I-TURN: we have the turn.
        let value = unsafe { self.place.deref() }.take();
        let cell = self.give_up_place();
        let vacant = pack(generation_of(word).wrapping_add(1), IDLE);
        while let Err(now) = cell.leave(word, vacant) {
            word = now;
        }
        occupant(value)
    }

    /// Lets go of the value, which must come before the transition that lets others at it.
    fn give_up_place(self) -> &'a TurnCell<T> {
        self.cell
    }
}

impl<T> Deref for Turn<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: [sync-005] I-TURN: we have the turn, and `&self` keeps `&mut` out.
        occupant(unsafe { self.place.deref() }.as_ref())
    }
}

impl<T> DerefMut for Turn<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: [sync-006] I-TURN: we have the turn, and `&mut self` is the only way here.
        occupant(unsafe { self.place.deref() }.as_mut())
    }
}

#[inline]
fn occupant<R>(value: Option<R>) -> R {
    value.unwrap_or_else(|| unreachable!("an occupied cell has a value"))
}

#[inline]
fn pack(generation: u32, state: u64) -> u64 {
    u64::from(generation) << GENERATION_SHIFT | state
}

#[inline]
fn generation_of(word: u64) -> u32 {
    (word >> GENERATION_SHIFT) as u32
}

#[inline]
fn flags_of(word: u64) -> u32 {
    ((word & FLAGS) >> FLAGS_SHIFT) as u32
}

/// Whether the word belongs to the occupant of that generation; a vacant cell is nobody's.
#[inline]
fn is_of(word: u64, generation: u32) -> bool {
    !generation.is_multiple_of(2)
        && (generation_of(word) == generation || skips(Site::TurnGeneration))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::ring::Ring;
    use std::sync::atomic::{AtomicU64 as StdU64, Ordering as O};

    fn turn<'a>(cell: &'a TurnCell<u64>, generation: u32) -> Turn<'a, u64> {
        cell.start(generation, 0).expect("the cell is idle")
    }

    #[test]
    fn states_follow_the_picture() {
        let cell = TurnCell::new();
        let generation = cell.occupy(7u64);
        assert!(cell.is_occupied_by(generation));
        assert!(cell.enter(generation).is_none(), "nobody queued it");
        assert_eq!(cell.notify(generation, flags::INBOX), Notify::Run);
        assert_eq!(cell.notify(generation, flags::WAKE), Notify::Noted);
        assert!(cell.start(generation, flags::UNREAD).is_none(), "it is queued");
        let mut turn = cell.enter(generation).expect("it is queued");
        assert!(cell.enter(generation).is_none(), "it runs");
        assert_eq!(turn.flags(), flags::INBOX | flags::WAKE | flags::UNREAD);
        assert_eq!(turn.take_flags(), flags::INBOX | flags::WAKE | flags::UNREAD);
        assert_eq!(turn.take_flags(), 0);
        assert_eq!((*turn, turn.generation()), (7, generation));
        *turn += 1;
        assert_eq!(turn.finish(), Finish::Idle);

        let turn = cell.start(generation, 0).expect("it is idle");
        assert_eq!(*turn, 8);
        assert_eq!(cell.notify(generation, flags::KILL), Notify::Noted);
        assert!(cell.start(generation, flags::ERROR).is_none());
        assert_eq!(turn.finish(), Finish::Again);
        let mut turn = cell.enter(generation).expect("it is queued again");
        assert_eq!(turn.take_flags(), flags::KILL | flags::ERROR, "flags are sticky");
        turn.requeue();
        assert_eq!(cell.notify(generation, 0), Notify::Noted, "it is queued");
        let turn = cell.enter(generation).expect("requeued");
        assert_eq!(turn.vacate(), 8);
    }

    #[test]
    fn a_stale_handle_touches_nothing() {
        let cell = TurnCell::new();
        assert_eq!(cell.notify(0, flags::KILL), Notify::Stale, "vacant from the start");
        let mut handles = Vec::new();
        for occupant in 0..5u64 {
            let generation = cell.occupy(occupant);
            assert_eq!(cell.notify(generation, flags::ALL), Notify::Run);
            for stale in &handles {
                assert_eq!(cell.notify(*stale, flags::KILL), Notify::Stale);
                assert!(cell.start(*stale, flags::KILL).is_none());
                assert!(cell.enter(*stale).is_none());
                assert!(!cell.is_occupied_by(*stale));
            }
            let turn = cell.enter(generation).expect("queued above");
            assert_eq!(turn.vacate(), occupant);
            assert_eq!(cell.notify(generation, flags::KILL), Notify::Stale, "vacant");
            assert_eq!(cell.notify(generation + 1, flags::KILL), Notify::Stale, "vacant");
            handles.push(generation);
        }
        let generation = cell.occupy(9);
        assert_eq!(turn(&cell, generation).take_flags(), 0, "a successor inherits no flags");
    }

    #[test]
    #[should_panic(expected = "occupied")]
    fn an_occupied_cell_is_not_given_away() {
        let cell = TurnCell::new();
        cell.occupy(1u64);
        cell.occupy(2u64);
    }

    #[test]
    fn handles_keep_both_halves() {
        for (index, generation) in [(5, u32::MAX), (u32::MAX, 1)] {
            let handle = Handle { index, generation };
            assert_eq!(Handle::from_bits(handle.to_bits()), handle);
        }
    }

    /// Threads note, run and steal; each note counts up a number first. In the end the runners
    /// must have seen every note, and never two at a time.
    #[test]
    fn runners_exclude_each_other_and_miss_nothing() {
        let rounds: u64 = if cfg!(miri) { 50 } else { 20_000 };
        let cells: [TurnCell<u64>; 3] = Default::default();
        let generations = cells.each_ref().map(|cell| cell.occupy(0));
        let announced: [StdU64; 3] = Default::default();
        let (ring, running) = (Ring::with_capacity(4), StdU64::new(3));
        let run = |at: usize, mut turn: Turn<'_, u64>| {
            // A plain read-modify-write: two runners at once would lose counts, or time go back.
            turn.take_flags();
            let seen = announced[at].load(O::Relaxed);
            assert!(seen >= *turn, "a runner saw less than the one before");
            *turn = seen;
            if turn.finish() == Finish::Again {
                ring.push(at as u64).expect("a cell is in the ring at most once");
            }
        };
        let pop_and_run = || match ring.pop() {
            Some(at) => {
                let cell = &cells[at as usize];
                let turn = cell.enter(generations[at as usize]);
                run(at as usize, turn.expect("a popped cell is queued"));
            }
            None => std::thread::yield_now(),
        };
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (cells, announced, ring, running) = (&cells, &announced, &ring, &running);
                let (run, pop_and_run) = (&run, &pop_and_run);
                scope.spawn(move || {
                    for round in 0..rounds {
                        let at = (thread + round as usize) % 3;
                        announced[at].fetch_add(1, O::Relaxed);
                        if round % 2 == 0 {
                            if let Some(turn) = cells[at].start(generations[at], flags::UNREAD) {
                                run(at, turn);
                            }
                        } else if cells[at].notify(generations[at], flags::INBOX) == Notify::Run {
                            ring.push(at as u64).expect("a cell is in the ring at most once");
                        }
                        pop_and_run();
                    }
                    running.fetch_sub(1, O::Relaxed);
                    while running.load(O::Relaxed) > 0 || !ring.is_empty() {
                        pop_and_run();
                    }
                });
            }
        });
        for (at, cell) in cells.iter().enumerate() {
            assert_eq!(*turn(cell, generations[at]), announced[at].load(O::Relaxed), "cell {at}");
        }
    }
}
