//! Models of the room `sync`, run through every interleaving and every admissible stale load.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --test loom
//! ```
//!
//! Each model is shown to be able to fail: `notices` plants one mistake (an ordering weakened to
//! Relaxed, a fence or a check left out) and demands that the model then panics.
//!
//! Not seen here: a load that the processor delays beyond a later store. loom runs a thread's
//! operations in their order, so the Release with which `Ring::pop` gives a slot back cannot be
//! shown to matter.
#![cfg(loom)]

use dse::sync::exclusive::ExclusiveSeq;
use dse::sync::log_ring::{LogRing, RingShape};
use dse::sync::park::Parker;
use dse::sync::primitive::{Site, plant};
use dse::sync::ring::Ring;
use dse::sync::seqlock::ControlWord;
use dse::sync::turn::{Finish, Notify, Turn, TurnCell, flags};

use loom::sync::Notify as Bell;
use loom::sync::atomic::{AtomicU64, Ordering::*};
use loom::thread;
use std::panic::catch_unwind;
use std::sync::Arc;

/// The threads of a model, which meet at a common counter.
///
/// loom tries another order of two threads only where it sees them meet at one place, and it
/// remembers only the last access of a place: a thread that loads before it stores hides from it
/// that others have loaded there too. A read-modify-write of a common word is never hidden. So
/// each thread passes the counter before its first step, and where a model says so.
#[derive(Default)]
struct Race(Arc<AtomicU64>);

impl Race {
    /// Starts a thread of the race.
    fn thread<T: 'static>(&self, run: impl FnOnce() -> T + 'static) -> thread::JoinHandle<T> {
        let counter = Arc::clone(&self.0);
        thread::spawn(move || {
            counter.fetch_add(1, Relaxed);
            run()
        })
    }

    /// The others may go first. Relaxed: it orders nothing else.
    fn meet(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Runs `model` in all its interleavings with at most `preemptions` forced switches.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// The model must pass as it is, and fail with each of the mistakes.
fn notices(mistakes: &[Site], model: fn()) {
    plant(None);
    model();
    for mistake in mistakes {
        plant(Some(*mistake));
        let outcome = catch_unwind(model);
        plant(None);
        assert!(outcome.is_err(), "the model does not notice a mistake at {mistake:?}");
    }
}

mod ring {
    use super::*;

    /// Two pushers, two poppers: each value comes out once, and with it what was written before.
    #[test]
    fn values_come_out_once_with_what_was_written_before() {
        notices(&[Site::RingPublish], || {
            check(2, || {
                let race = Race::default();
                let ring = Arc::new(Ring::with_capacity(2));
                let written: Arc<[AtomicU64; 2]> = Arc::default();
                let pushers = [0u64, 1].map(|value| {
                    let (ring, written) = (Arc::clone(&ring), Arc::clone(&written));
                    race.thread(move || {
                        written[value as usize].store(7, Relaxed);
                        assert_eq!(ring.push(value), Ok(()));
                    })
                });
                let pop = |ring: &Ring, written: &[AtomicU64; 2]| {
                    let value = ring.pop()?;
                    assert_eq!(written[value as usize].load(Relaxed), 7, "popped too early");
                    Some(value)
                };
                let popper = {
                    let (ring, written) = (Arc::clone(&ring), Arc::clone(&written));
                    race.thread(move || pop(&ring, &written))
                };
                race.meet();
                let mut popped: Vec<u64> = pop(&ring, &written).into_iter().collect();
                popped.extend(popper.join().expect("a popper does not panic"));
                for pusher in pushers {
                    pusher.join().expect("a pusher does not panic");
                }
                popped.extend(std::iter::from_fn(|| pop(&ring, &written)));
                popped.sort_unstable();
                assert_eq!(popped, [0, 1]);
            });
        });
    }

    /// One pusher, laps of two slots: what comes out is in order.
    #[test]
    fn values_of_one_pusher_stay_in_order() {
        notices(&[Site::RingPublish], || {
            check(3, || {
                let race = Race::default();
                let ring = Arc::new(Ring::with_capacity(2));
                let (pushing, race) = (Arc::clone(&ring), Arc::new(race));
                let meeting = Arc::clone(&race);
                let pusher = race.thread(move || {
                    for value in 1..=3 {
                        meeting.meet();
                        // A refusal of the third says that two lie there.
                        assert!(pushing.push(value).is_ok() || value == 3);
                    }
                });
                let mut last = 0;
                for _ in 0..3 {
                    race.meet();
                    if let Some(value) = ring.pop() {
                        assert_eq!(value, last + 1, "a value was passed over");
                        last = value;
                    }
                }
                pusher.join().expect("a pusher does not panic");
            });
        });
    }

    /// As many values as places, each pushed again by who popped it: no push is refused.
    #[test]
    fn a_push_of_a_value_with_a_place_of_its_own_cannot_fail() {
        notices(&[Site::RingClaim], || {
            check(3, || {
                let race = Race::default();
                let ring = Arc::new(Ring::with_capacity(2));
                ring.push(0).expect("there are two places");
                ring.push(1).expect("there are two places");
                let circulate = |ring: &Ring, rounds| {
                    for _ in 0..rounds {
                        if let Some(value) = ring.pop() {
                            ring.push(value).expect("its place is free");
                        }
                    }
                };
                let other = {
                    let ring = Arc::clone(&ring);
                    race.thread(move || circulate(&ring, 2))
                };
                race.meet();
                circulate(&ring, 1);
                other.join().expect("nobody panics");
                assert_eq!(ring.len(), 2);
            });
        });
    }
}

mod seqlock {
    use super::*;

    /// A writer changes two words twice: what a reader validates was there at one instant.
    #[test]
    fn a_validated_read_is_not_torn() {
        let sites = [Site::SeqlockBegin, Site::SeqlockEnd, Site::SeqlockValidate];
        notices(&sites, || {
            check(3, || {
                let race = Race::default();
                let bucket = Arc::new((ControlWord::new(), [AtomicU64::new(0), AtomicU64::new(0)]));
                let writer = {
                    let bucket = Arc::clone(&bucket);
                    race.thread(move || {
                        let (word, data) = &*bucket;
                        for round in 1..=2 {
                            word.write_begin();
                            data[0].store(round, Relaxed);
                            data[1].store(round, Relaxed);
                            word.write_end(round as u8);
                        }
                    })
                };
                let (word, data) = &*bucket;
                race.meet();
                if let Some(begun) = word.read_begin() {
                    let seen = [data[0].load(Relaxed), data[1].load(Relaxed)];
                    if word.read_validate(begun) {
                        assert_eq!(seen[0], seen[1], "torn");
                        assert_eq!(u64::from(ControlWord::reach_of(begun)), seen[0], "foreign");
                    }
                }
                writer.join().expect("a writer does not panic");
            });
        });
    }

    /// Readers mark slots while a writer works: a mark may be lost to another, none to the writer,
    /// and marks spoil no read.
    #[test]
    fn visited_marks_survive_a_writer() {
        notices(&[], || {
            check(3, || {
                let race = Race::default();
                let word = Arc::new(ControlWord::new());
                let writer = {
                    let word = Arc::clone(&word);
                    race.thread(move || {
                        word.write_begin();
                        word.write_end(2);
                    })
                };
                let marker = {
                    let word = Arc::clone(&word);
                    race.thread(move || word.set_visited(3))
                };
                race.meet();
                word.set_visited(6);
                writer.join().expect("a writer does not panic");
                marker.join().expect("a reader does not panic");
                let begun = word.read_begin().expect("the writer is done");
                assert_eq!(ControlWord::reach_of(begun), 2);
                assert!((word.visited(3) || word.visited(6)) && !word.visited(0));
                word.clear_visited(3);
                assert!(word.read_validate(begun));
            });
        });
    }
}

mod exclusive {
    use super::*;

    /// k1 and k2 change together: who has seen the new k1 never sees the old k2 afterwards.
    #[test]
    fn a_change_of_two_keys_is_seen_whole() {
        notices(&[Site::ExclusiveRaise, Site::ExclusiveCheck], || {
            check(3, || {
                let race = Race::default();
                let shard = Arc::new((ExclusiveSeq::new(), [AtomicU64::new(0), AtomicU64::new(0)]));
                let writer = {
                    let shard = Arc::clone(&shard);
                    race.thread(move || {
                        let (seq, keys) = &*shard;
                        seq.raise();
                        keys[0].store(1, Relaxed);
                        keys[1].store(1, Relaxed);
                        seq.lower();
                    })
                };
                let (seq, keys) = &*shard;
                race.meet();
                let first = keys[0].load(Acquire);
                if seq.check().is_some() {
                    let second = keys[1].load(Acquire);
                    assert!(first == 0 || second == 1, "half of a change");
                }
                writer.join().expect("a writer does not panic");
            });
        });
    }

    /// A key's slot moves, and is written at its new place: who has seen what came after that does
    /// not go by the old way, remembered under the sequence as it was before.
    #[test]
    fn a_way_that_was_remembered_is_not_gone_after_it_has_moved() {
        notices(&[Site::ExclusiveMoved, Site::ExclusiveCheck], || {
            check(3, || {
                let race = Race::default();
                let words = [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)];
                let shard = Arc::new((ExclusiveSeq::new(), words, AtomicU64::new(0)));
                let writer = {
                    let shard = Arc::clone(&shard);
                    race.thread(move || {
                        let (seq, [way, _, new], after) = &*shard;
                        way.store(1, Release);
                        seq.moved();
                        new.store(1, Relaxed);
                        after.store(1, Release);
                    })
                };
                let (seq, [way, old, new], after) = &*shard;
                race.meet();
                if let Some(seen) = seq.check() {
                    let slot = if way.load(Acquire) == 1 { new } else { old };
                    let knows = after.load(Acquire) == 1;
                    if seq.is_still(seen) {
                        assert!(!knows || slot.load(Acquire) == 1, "an old slot was read");
                    }
                }
                writer.join().expect("a writer does not panic");
            });
        });
    }

    /// As MGET does it: note, read both, ask whether it is unchanged.
    #[test]
    fn a_read_of_two_keys_is_whole_if_the_sequence_is_unchanged() {
        notices(&[Site::ExclusiveRaise, Site::ExclusiveCheck], || {
            check(3, || {
                let race = Race::default();
                let shard = Arc::new((ExclusiveSeq::new(), [AtomicU64::new(0), AtomicU64::new(0)]));
                let writer = {
                    let shard = Arc::clone(&shard);
                    race.thread(move || {
                        let (seq, keys) = &*shard;
                        seq.raise();
                        keys[0].store(1, Relaxed);
                        keys[1].store(1, Relaxed);
                        seq.lower();
                    })
                };
                let (seq, keys) = &*shard;
                race.meet();
                if let Some(seen) = seq.check() {
                    let values = [keys[1].load(Relaxed), keys[0].load(Relaxed)];
                    if seq.unchanged(seen) {
                        assert_eq!(values[0], values[1], "half of a change");
                    }
                }
                writer.join().expect("a writer does not panic");
            });
        });
    }
}

mod turn {
    use super::*;

    /// What a connection's runner keeps: which messages it has seen.
    #[derive(Default)]
    struct Connection {
        seen: u64,
        flags: u32,
    }

    struct World {
        cell: TurnCell<Connection>,
        generation: u32,
        /// Bit by bit, the messages that were left for the connection.
        inbox: AtomicU64,
    }

    impl World {
        fn new() -> Arc<World> {
            let cell = TurnCell::new();
            let generation = cell.occupy(Connection::default());
            Arc::new(World { cell, generation, inbox: AtomicU64::new(0) })
        }

        /// Runs the turn, and the turns that it makes necessary.
        fn run<'a>(&'a self, mut turn: Turn<'a, Connection>) {
            loop {
                turn.flags |= turn.take_flags();
                turn.seen |= self.inbox.load(Relaxed);
                if turn.finish() == Finish::Idle {
                    return;
                }
                turn = self.cell.enter(self.generation).expect("it was queued for us");
            }
        }

        /// Leaves a message and sees to it that somebody looks.
        fn leave_message(&self, bit: u64, flag: u32) {
            self.inbox.fetch_or(bit, Relaxed);
            if self.cell.notify(self.generation, flag) == Notify::Run {
                let turn = self.cell.enter(self.generation).expect("it was queued for us");
                self.run(turn);
            }
        }

        /// As a home worker does it for an event of its own epoll set.
        fn event(&self, bit: u64, flag: u32) {
            self.inbox.fetch_or(bit, Relaxed);
            if let Some(turn) = self.cell.start(self.generation, flag) {
                self.run(turn);
            }
        }
    }

    /// Three sides announce something: each message and flag is seen, by one runner at a time.
    #[test]
    fn one_runs_at_a_time_and_nothing_noted_is_lost() {
        notices(&[Site::TurnFinish, Site::TurnNotify, Site::TurnDirty], || {
            check(2, || {
                let race = Race::default();
                let world = World::new();
                let publisher = {
                    let world = Arc::clone(&world);
                    race.thread(move || world.leave_message(1, flags::INBOX))
                };
                let log = {
                    let world = Arc::clone(&world);
                    race.thread(move || world.leave_message(2, flags::WAKE))
                };
                race.meet();
                world.event(4, flags::UNREAD);
                publisher.join().expect("a publisher does not panic");
                log.join().expect("the log does not panic");
                let turn = world.cell.start(world.generation, 0).expect("all turns are over");
                assert_eq!(turn.seen, 7, "a message was not seen");
                assert_eq!(turn.flags, flags::INBOX | flags::WAKE | flags::UNREAD);
                assert_eq!(turn.vacate().seen, 7);
            });
        });
    }

    /// One closes the connection, one accepts the next into the same cell, one comes late.
    #[test]
    fn a_stale_handle_does_not_touch_the_successor() {
        notices(&[Site::TurnGeneration], || {
            check(3, || {
                let race = Race::default();
                let world = World::new();
                let late = {
                    let world = Arc::clone(&world);
                    race.thread(move || {
                        if world.cell.notify(world.generation, flags::KILL) == Notify::Run
                            && let Some(turn) = world.cell.enter(world.generation)
                        {
                            world.run(turn);
                        }
                    })
                };
                race.meet();
                // If the late one is at it just now, this connection is closed another time.
                if let Some(turn) = world.cell.start(world.generation, 0) {
                    turn.vacate();
                    let generation = world.cell.occupy(Connection::default());
                    late.join().expect("the late one does not panic");
                    let turn = world.cell.start(generation, 0).expect("nobody else knows it");
                    assert_eq!((turn.flags() | turn.flags, turn.seen), (0, 0), "it was touched");
                    turn.vacate();
                }
            });
        });
    }

    /// A turn cut off by its budget is taken over by another thread, which was not told of it in
    /// any way that orders memory.
    #[test]
    fn a_turn_that_is_taken_over_sees_what_the_last_runner_did() {
        notices(&[Site::TurnEnter, Site::TurnFinish], || {
            check(3, || {
                let race = Race::default();
                let world = World::new();
                let thief = {
                    let world = Arc::clone(&world);
                    race.thread(move || {
                        let turn = world.cell.enter(world.generation)?;
                        assert_eq!(turn.seen, 9);
                        Some(turn.vacate().seen)
                    })
                };
                race.meet();
                let mut turn = world.cell.start(world.generation, 0).expect("it was idle");
                turn.seen = 9;
                turn.requeue();
                if thief.join().expect("a thief does not panic").is_none() {
                    let turn = world.cell.enter(world.generation).expect("it is still queued");
                    turn.vacate();
                }
            });
        });
    }

    /// A turn cut off by its budget, while somebody notes something.
    #[test]
    fn a_requeued_turn_keeps_what_is_noted() {
        notices(&[Site::TurnNotify], || {
            check(3, || {
                let race = Race::default();
                let world = World::new();
                let publisher = {
                    let world = Arc::clone(&world);
                    race.thread(move || world.leave_message(1, flags::INBOX))
                };
                race.meet();
                if let Some(mut turn) = world.cell.start(world.generation, flags::UNREAD) {
                    turn.flags |= turn.take_flags();
                    turn.requeue();
                    let turn = world.cell.enter(world.generation).expect("it was requeued");
                    world.run(turn);
                }
                publisher.join().expect("a publisher does not panic");
                let turn = world.cell.start(world.generation, 0).expect("all turns are over");
                assert_eq!((turn.seen, turn.flags), (1, flags::INBOX | flags::UNREAD));
                turn.vacate();
            });
        });
    }
}

mod park {
    use super::*;

    struct Worker {
        ring: Ring,
        parker: Parker,
        /// In the place of the eventfd.
        bell: Bell,
    }

    impl Worker {
        fn push(&self, value: u64) {
            self.ring.push(value).expect("there is a place for each");
            if self.parker.should_wake() {
                self.bell.notify();
            }
        }

        /// Takes `count` values, asleep whenever there is none.
        fn work(&self, count: usize) {
            let mut done = 0;
            while done < count {
                self.parker.prepare_park();
                match self.ring.pop() {
                    Some(_) => done += 1,
                    None => self.bell.wait(),
                }
                self.parker.cancel();
            }
        }
    }

    /// A wake-up that is lost is a deadlock, which loom reports.
    #[test]
    fn no_wake_up_is_lost() {
        notices(&[Site::ParkFence, Site::WakeFence], || {
            check(3, || {
                let race = Race::default();
                let worker = Arc::new(Worker {
                    ring: Ring::with_capacity(2),
                    parker: Parker::new(),
                    bell: Bell::new(),
                });
                let pushers = [1, 2].map(|value| {
                    let worker = Arc::clone(&worker);
                    race.thread(move || worker.push(value))
                });
                race.meet();
                worker.work(2);
                for pusher in pushers {
                    pusher.join().expect("a pusher does not panic");
                }
            });
        });
    }
}

mod log_ring {
    use super::*;

    /// Two words a block, so that a commit is one header word and a short rest.
    const SHAPE: RingShape = RingShape { capacity: 64, chunk: 64, block: 32, header: 8 };

    fn append(ring: &LogRing, value: u64) -> bool {
        ring.append([0, 24], &value.to_le_bytes()).is_ok()
    }

    /// What the records of a closed commit carry.
    fn take(ring: &LogRing, start: &mut u64) -> Vec<u64> {
        let mut values = Vec::new();
        for commit in ring.close(*start, loom::thread::yield_now) {
            let mut bytes = vec![0; (commit.end - commit.start) as usize];
            ring.copy(&commit, &mut bytes);
            for at in (8..(commit.used - commit.start) as usize).step_by(24) {
                let word = &bytes[at + 16..at + 24];
                values.push(u64::from_le_bytes(word.try_into().expect("eight")));
            }
            *start = commit.end;
        }
        values
    }

    /// Two writers and a reader that closes early: what comes out is what went in.
    #[test]
    fn records_come_out_whole() {
        notices(&[Site::LogPublish, Site::LogTake], || {
            check(2, || {
                let race = Race::default();
                let ring = Arc::new(LogRing::new(SHAPE, 0));
                ring.allow(64);
                let writers = [7, 8].map(|value| {
                    let ring = Arc::clone(&ring);
                    race.thread(move || append(&ring, value))
                });
                race.meet();
                let mut start = 0;
                let mut seen = take(&ring, &mut start);
                for writer in writers {
                    // A writer may find too little left: the early commit took a block.
                    let appended = writer.join().expect("a writer does not panic");
                    assert!(appended || start > 0);
                }
                seen.extend(take(&ring, &mut start));
                seen.iter().for_each(|value| assert!(*value == 7 || *value == 8));
            });
        });
    }

    /// A word is not overwritten before it was read. (That the limit is released and acquired
    /// cannot be shown to matter: see above.)
    #[test]
    fn a_lap_does_not_catch_up_with_the_reader() {
        notices(&[], || {
            check(2, || {
                let race = Race::default();
                let ring = Arc::new(LogRing::new(SHAPE, 0));
                ring.allow(64);
                assert!(append(&ring, 7));
                let writer = {
                    let ring = Arc::clone(&ring);
                    race.thread(move || while append(&ring, 8) {})
                };
                race.meet();
                let mut start = 0;
                let first = take(&ring, &mut start);
                assert_eq!(first.first(), Some(&7), "the first record was overwritten");
                ring.allow(start + 64);
                writer.join().expect("a writer does not panic");
            });
        });
    }
}
