//! Attacks on the slabs: every slot is filled to its last byte with what tells its owner, and
//! looked at again before it goes back.

use super::class::{CLASSES, Class};
use super::shelf::{Cache, Slabs};
use crate::limits::{SLAB_ENTRY_MAX, SLAB_SPAN_BYTES, SLAB_SPANS_KEPT, SLAB_SPARSE_PART};
use crate::util::rng::SplitMix64;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Mutex;

/// A slot that is out, with what it was filled with.
struct Owned {
    slot: NonNull<u8>,
    class: Class,
    seed: u8,
}

// SAFETY: [slab-038] I-SLAB: whoever has it owns the slot, on whatever thread.
unsafe impl Send for Owned {}

impl Owned {
    fn take(slabs: &Slabs, cache: &mut Cache, class: Class, seed: u8) -> Owned {
        let slot = cache.take(slabs, class).expect("memory");
        // SAFETY: [slab-039] I-SLAB: the slot is ours, and has so many bytes.
        unsafe { slot.as_ptr().write_bytes(seed, class.bytes()) };
        Owned { slot, class, seed }
    }

    fn give(self, slabs: &Slabs, cache: &mut Cache) {
        // SAFETY: [slab-040] I-SLAB: the slot is ours, and was filled.
        let bytes = unsafe { std::slice::from_raw_parts(self.slot.as_ptr(), self.class.bytes()) };
        assert!(bytes.iter().all(|byte| *byte == self.seed), "somebody else wrote to a slot");
        // SAFETY: [slab-041] I-SLAB: the slot is ours, and is not used any more.
        unsafe { cache.give(slabs, self.class, self.slot) };
    }
}

fn any_class(rng: &mut SplitMix64) -> Class {
    match rng.below(4) {
        0 => Class::numbered(rng.below(CLASSES as u64) as usize),
        1 => Class::of(rng.below(SLAB_ENTRY_MAX as u64) as usize).expect("small enough"),
        _ => Class::numbered(rng.below(4) as usize),
    }
}

/// A slabs of its own; its regions stay, as those of all slabs do. Named in a list, so that who
/// looks for leaks finds it.
fn new_slabs() -> &'static Slabs {
    static ALL: Mutex<Vec<&Slabs>> = Mutex::new(Vec::new());
    let slabs: &'static Slabs = Box::leak(Box::new(Slabs::new()));
    ALL.lock().expect("nobody panics with the list").push(slabs);
    slabs
}

/// Which intervals of addresses are out, naively.
#[derive(Default)]
struct Intervals(BTreeMap<usize, usize>);

impl Intervals {
    fn add(&mut self, start: usize, end: usize) {
        let before = self.0.range(..end).next_back();
        assert!(before.is_none_or(|(_, before_end)| *before_end <= start), "slots overlap");
        self.0.insert(start, end);
    }

    fn remove(&mut self, start: usize) {
        assert!(self.0.remove(&start).is_some());
    }
}

#[test]
fn slots_are_aligned_and_never_overlap() {
    for seed in 0..4 {
        println!("seed {seed}");
        let (slabs, mut cache, mut rng) = (new_slabs(), Cache::new(), SplitMix64::new(seed));
        let (mut intervals, mut owned) = (Intervals::default(), Vec::new());
        for step in 0..if cfg!(miri) { 1500 } else { 60_000 } {
            // Phases of growth and of decline.
            if owned.is_empty() || rng.below(100) < if step / 4000 % 2 == 0 { 60 } else { 40 } {
                let class = any_class(&mut rng);
                let new = Owned::take(slabs, &mut cache, class, rng.next_u64() as u8);
                let start = new.slot.addr().get();
                let align = if class == Class::SEGMENT { 64 } else { 8 };
                assert!(start.is_multiple_of(align));
                intervals.add(start, start + class.bytes());
                owned.push(new);
            } else {
                let old = owned.swap_remove(rng.below(owned.len() as u64) as usize);
                intervals.remove(old.slot.addr().get());
                old.give(slabs, &mut cache);
            }
            match rng.below(2000) {
                0 => cache.flush(slabs),
                1 => _ = slabs.mark_sparse(0, 1000, SLAB_SPARSE_PART),
                2 => _ = slabs.unmark_sparse(0, 1000),
                _ => {}
            }
        }
        owned.into_iter().for_each(|old| old.give(slabs, &mut cache));
        cache.flush(slabs);
        assert_empty(slabs);
    }
}

/// Nothing is out, and of what was used a bounded number of pages is kept.
fn assert_empty(slabs: &Slabs) {
    let (out, slack) = slabs.usage();
    assert_eq!(out, 0);
    assert!(slack <= (SLAB_SPANS_KEPT * SLAB_SPAN_BYTES) as u64, "{slack} bytes are left");
    assert_eq!(slack % SLAB_SPAN_BYTES as u64, 0, "only whole spans are left");
}

#[test]
fn slots_made_by_one_thread_are_freed_by_others() {
    let (slabs, threads) = (new_slabs(), 4);
    let rounds = if cfg!(miri) { 300 } else { 40_000 };
    let pile: Mutex<Vec<Owned>> = Mutex::default();
    std::thread::scope(|scope| {
        for number in 0..threads {
            let pile = &pile;
            scope.spawn(move || {
                let (mut cache, mut rng) = (Cache::new(), SplitMix64::new(number));
                for _ in 0..rounds {
                    let class = any_class(&mut rng);
                    let new = Owned::take(slabs, &mut cache, class, rng.next_u64() as u8);
                    let mut pile = pile.lock().expect("nobody panics");
                    pile.push(new);
                    let count = pile.len() as u64;
                    let old = (count > 2000 || rng.below(3) > 0)
                        .then(|| pile.swap_remove(rng.below(count) as usize));
                    drop(pile);
                    if let Some(old) = old {
                        old.give(slabs, &mut cache);
                    }
                    match rng.below(5000) {
                        0 => _ = slabs.mark_sparse(0, 1000, SLAB_SPARSE_PART),
                        1 => _ = slabs.unmark_sparse(0, 1000),
                        _ => {}
                    }
                }
                cache.flush(slabs);
            });
        }
    });
    let mut cache = Cache::new();
    let left = pile.into_inner().expect("nobody panicked");
    left.into_iter().for_each(|old| old.give(slabs, &mut cache));
    cache.flush(slabs);
    assert_empty(slabs);
}

/// Slots of `spans` spans, of which those stay that `stays` says, by their numbers.
fn thinned(
    slabs: &'static Slabs,
    cache: &mut Cache,
    spans: usize,
    stays: impl Fn(usize) -> bool,
) -> Vec<Owned> {
    let class = Class::of(1000).expect("small enough");
    let count = spans * class.slots();
    let owned: Vec<Owned> =
        (0..count).map(|number| Owned::take(slabs, cache, class, number as u8)).collect();
    let mut kept = Vec::new();
    for (number, old) in owned.into_iter().enumerate() {
        if stays(number) { kept.push(old) } else { old.give(slabs, cache) }
    }
    cache.flush(slabs);
    assert_eq!(slabs.usage().0, (kept.len() * class.bytes()) as u64);
    assert_eq!(slabs.usage().1, ((count - kept.len()) * class.bytes()) as u64);
    kept
}

/// Moves what lies in sparse spans, all of it at a moment when nothing of it is freed yet; how
/// many bytes were committed then.
fn move_sparse(slabs: &'static Slabs, cache: &mut Cache, kept: &mut [Owned]) -> u64 {
    // SAFETY: [slab-042] I-SLAB: the slot is out.
    let is_sparse = |owned: &Owned| unsafe { slabs.is_sparse(owned.slot) };
    let mut left = Vec::new();
    for old in kept {
        if is_sparse(old) {
            let new = Owned::take(slabs, cache, old.class, old.seed);
            assert!(!is_sparse(&new), "what is new lies elsewhere");
            left.push(std::mem::replace(old, new));
        }
    }
    let (out, slack) = slabs.usage();
    left.into_iter().for_each(|old| old.give(slabs, cache));
    out + slack
}

#[test]
fn nothing_is_handed_out_from_a_sparse_span_and_emptied_ones_go() {
    let (slabs, mut cache) = (new_slabs(), Cache::new());
    let mut kept = thinned(slabs, &mut cache, 40, |number| number % 10 == 0);
    let bytes = kept.len() * kept[0].class.bytes();
    for _ in 0..3 {
        assert_eq!(slabs.mark_sparse(0, 1000, SLAB_SPARSE_PART), None);
        move_sparse(slabs, &mut cache, &mut kept);
        assert_eq!(slabs.unmark_sparse(0, 1000), None);
        cache.flush(slabs);
    }
    let (out, slack) = slabs.usage();
    assert_eq!(out, bytes as u64);
    let bound = (SLAB_SPANS_KEPT + 1) * SLAB_SPAN_BYTES;
    assert!(slack <= bound as u64, "{slack} bytes are free but committed");
    kept.into_iter().for_each(|old| old.give(slabs, &mut cache));
    cache.flush(slabs);
    assert_empty(slabs);
}

/// Half of each span is free: to empty them all at once would take half as much memory again.
#[test]
fn moving_takes_no_more_memory_than_a_span() {
    let (slabs, mut cache) = (new_slabs(), Cache::new());
    let mut kept = thinned(slabs, &mut cache, 40, |number| number % 2 == 0);
    let (out, slack) = slabs.usage();
    let bound = out + slack + (2 * SLAB_SPAN_BYTES) as u64;
    for round in 0..4 {
        assert_eq!(slabs.mark_sparse(0, 1000, SLAB_SPARSE_PART), None);
        let most = move_sparse(slabs, &mut cache, &mut kept);
        assert!(most <= bound, "{most} bytes in round {round}, at most {bound}");
        assert_eq!(slabs.unmark_sparse(0, 1000), None);
        cache.flush(slabs);
    }
    let slack = slabs.usage().1;
    let bound = (SLAB_SPANS_KEPT + 1) * SLAB_SPAN_BYTES;
    assert!(slack <= bound as u64, "{slack} bytes are free but committed");
    kept.into_iter().for_each(|old| old.give(slabs, &mut cache));
    cache.flush(slabs);
    assert_empty(slabs);
}

#[test]
fn a_thread_that_ends_gives_its_slots_back() {
    let thread = || {
        let class = Class::of(12_345).expect("small enough");
        let slot = super::allocate(class).expect("memory");
        // SAFETY: [slab-043] I-SLAB: ours, and not used any more.
        unsafe { super::free(slot, class) };
        slot.addr()
    };
    let seen: Vec<_> =
        (0..3).map(|_| std::thread::spawn(thread).join().expect("it ends well")).collect();
    // No other test uses this class: what one thread left behind the next one finds.
    assert!(seen[1..].iter().all(|slot| slot.get().abs_diff(seen[0].get()) < SLAB_SPAN_BYTES));
}
