//! A copy through bytes goes on as its original does, and no bytes do harm.

use super::*;
use crate::limits::FROZEN_PIECE_BYTES;
use crate::store::objects::Frozen;
use crate::store::objects::Side;
use crate::store::objects::testing::Random;
use std::hash::{DefaultHasher, Hasher};

const KINDS: [Kind; 4] = [Kind::List, Kind::Set, Kind::Hash, Kind::ZSet];

fn empty(kind: Kind) -> Object {
    match kind {
        Kind::List => Object::List(List::new()),
        Kind::Set => Object::Set(Set::new()),
        Kind::Hash => Object::Hash(Hash::new()),
        _ => Object::ZSet(ZSet::new()),
    }
}

fn encoded(object: &Object) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.encode(&mut bytes);
    bytes
}

fn digest(object: &Object) -> u64 {
    let mut hasher = DefaultHasher::new();
    match object {
        Object::List(list) => list.digest(&mut hasher),
        Object::Set(set) => set.digest(&mut hasher),
        Object::Hash(hash) => hash.digest(&mut hasher),
        Object::ZSet(zset) => zset.digest(&mut hasher),
    }
    hasher.finish()
}

/// What elements look like in one run.
#[derive(Clone, Copy, Debug)]
struct Draw {
    /// Different ones.
    range: usize,
    /// Bytes that most have at most.
    long: usize,
    integers: bool,
}

impl Draw {
    fn element(self, random: &mut Random) -> Vec<u8> {
        let number = random.below(self.range);
        if self.integers {
            let wide = (number as i64 - 7).wrapping_mul([1, 40_000, 1 << 40][number % 3]);
            return wide.to_string().into_bytes();
        }
        let mut element = format!("{:x}", number * 2_654_435_761 % 65_536).into_bytes();
        element.resize(element.len() + number * 31 % (self.long + 1), b'.');
        element
    }
}

/// One random operation; what a client would be answered.
fn step(object: &mut Object, random: &mut Random, draw: Draw, grows: usize) -> String {
    let (element, other) = (draw.element(random), draw.element(random));
    let (adds, index) = (random.below(100) < grows, random.below(object.len() + 1));
    match object {
        Object::List(list) => list_step(list, random, (&element, &other), adds, index),
        Object::Set(set) if adds => set.insert(&element).to_string(),
        Object::Set(set) if random.below(2) == 0 => set.remove(&element).to_string(),
        Object::Set(set) => {
            let drawn = set.get_index(index).map(|member| member.to_vec());
            set.remove_index(index);
            format!("{drawn:?} {}", set.encoding(300))
        }
        Object::Hash(hash) if adds => hash.insert(&element, &other).to_string(),
        Object::Hash(hash) if random.below(2) == 0 => hash.remove(&element).to_string(),
        Object::Hash(hash) => {
            let drawn = hash.get_index(index).map(|(f, v)| (f.to_vec(), v.to_vec()));
            drawn.iter().for_each(|(field, _)| assert!(hash.remove(field)));
            format!("{drawn:?} {}", hash.encoding(100, 50))
        }
        Object::ZSet(zset) if adds => {
            let scores = [0.0, -0.0, 1.5, -7.0, f64::INFINITY, f64::NEG_INFINITY, 5e-324, f64::NAN];
            let score = if index % 3 == 0 { index as f64 } else { scores[index % scores.len()] };
            format!("{:?}", zset.insert(&element, score))
        }
        Object::ZSet(zset) => {
            let place = zset.get_place(index).map(|(m, s)| (m.to_vec(), s));
            let popped = if index % 2 == 0 { zset.pop_first() } else { zset.remove_rank(index) };
            let rank = zset.rank(&element);
            format!("{place:?} {popped:?} {rank:?} {}", zset.encoding(100, 50))
        }
    }
}

fn list_step(
    list: &mut List,
    random: &mut Random,
    (element, other): (&[u8], &[u8]),
    adds: bool,
    index: usize,
) -> String {
    match (adds, random.below(4)) {
        (true, 0) => list.push_front(element),
        (true, 1) => return list.insert_beside(Side::After, other, element).to_string(),
        (true, _) => list.push_back(element),
        (false, 0) => return format!("{:?} {:?}", list.pop_front(), list.pop_back()),
        (false, 1) => return list.remove(1, element).to_string(),
        (false, 2) => return list.set(index as i64, element).to_string(),
        (false, _) => return format!("{:?} {:?}", list.get(index as i64), list.len()),
    }
    String::new()
}

fn copied(object: &Object) -> Object {
    let bytes = encoded(object);
    let copy = Object::decode(object.kind(), &bytes).expect("what was encoded");
    assert_eq!(digest(&copy), digest(object));
    assert!(encoded(&copy) == bytes, "a copy is written in other bytes");
    copy
}

#[test]
fn a_copy_goes_on_as_its_original() {
    let mut random = Random::new("codec");
    for (range, long, integers) in [
        (30, 3, false),
        (60, 80, false),
        (400, 10, false),
        (700, 3000, false),
        (5000, 30, false),
        (50, 0, true),
        (900, 0, true),
    ] {
        for kind in KINDS {
            let draw = Draw { range, long, integers };
            let mut object = empty(kind);
            // Grows, then shrinks, so that the past differs from the present.
            for (steps, grows) in [(0, 50), (range * 2, 80), (range, 40), (range * 2, 10)] {
                for _ in 0..steps {
                    step(&mut object, &mut random, draw, grows);
                }
                let mut copy = copied(&object);
                let mut original = object.clone();
                for _ in 0..range.min(800) {
                    let seed = random.next();
                    let ours = step(&mut original, &mut Random::at(seed), draw, 50);
                    let theirs = step(&mut copy, &mut Random::at(seed), draw, 50);
                    assert_eq!(ours, theirs, "{kind:?} {draw:?}");
                }
                assert_eq!(digest(&original), digest(&copy), "{kind:?} {draw:?}");
            }
        }
    }
}

#[test]
fn damage_never_panics_and_never_gives_what_encodes_otherwise() {
    let mut random = Random::new("codec damage");
    for kind in KINDS {
        for (range, long, integers) in [(12, 4, false), (300, 90, false), (40, 0, true)] {
            let draw = Draw { range, long, integers };
            let mut object = empty(kind);
            (0..range * 2).for_each(|_| drop(step(&mut object, &mut random, draw, 75)));
            let bytes = encoded(&object);
            for cut in 0..bytes.len() {
                assert!(Object::decode(kind, &bytes[..cut]).is_err(), "{kind:?} cut at {cut}");
            }
            for _ in 0..3000 {
                let mut damaged = bytes.clone();
                for _ in 0..1 + random.below(3) {
                    let at = random.below(damaged.len());
                    damaged[at] ^= 1 << random.below(8);
                }
                if let Ok(object) = Object::decode(kind, &damaged) {
                    assert!(encoded(&object) == damaged, "{kind:?} has two spellings");
                }
            }
        }
    }
}

#[test]
fn what_cannot_have_been_written_is_refused() {
    let refused =
        |kind, bytes: &[u8]| Object::decode(kind, bytes).err().map(|damaged| damaged.what);
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(refused(Kind::List, &huge), Some("no byte string"));
    assert_eq!(refused(Kind::List, &[1, 1, b'a', 0]), Some("bytes behind the last element"));
    assert_eq!(refused(Kind::String, b""), Some("a string is not a collection"));
    for (bytes, what) in [
        (&[1, 2, 1, 2, 1, b'a', 1, b'a'][..], "a member that is there twice"),
        (&[2, 2, 1, 1, 1, b'a'], "a form that does not follow"),
        (&[1, 1, 1, 2, 1, b'a', 1, b'b'], "more elements than there ever were"),
        (&[1, 1, 1, 1, 2, b'a', b'b'], "an element longer than there ever was"),
        (&[0x80, 2, 1, 2, 4, 2], "integers out of order"),
        (&[0x80, 2, 1, 2, 4, 4], "integers out of order"),
        (&[0x80, 1, 1, 1, 24], "a number longer than there ever was"),
        (&[0x82, 0x81, 4, 1, 1, 1, b'a'], "a member that is no integer"),
        (&[0x81, 1, 1, 1, 1, b'a'], "a form that does not follow"),
    ] {
        assert_eq!(refused(Kind::Set, bytes), Some(what), "{bytes:?}");
    }
    let pairs = [1, 2, 1, 2, 1, b'f', 0, 1, b'f', 0];
    assert_eq!(refused(Kind::Hash, &pairs), Some("a field that is there twice"));
    let zset = |members: &[(f64, u8)], form: u8, past: u8| {
        let mut bytes = vec![form, past, 1, members.len() as u8];
        for (score, member) in members {
            bytes.extend_from_slice(&score.to_le_bytes());
            bytes.extend_from_slice(&[1, *member]);
        }
        refused(Kind::ZSet, &bytes)
    };
    assert_eq!(zset(&[(1.0, b'a'), (1.0, b'b')], 1, 2), None);
    assert_eq!(zset(&[(1.0, b'b'), (1.0, b'a')], 1, 2), Some("members out of order"));
    assert_eq!(zset(&[(1.0, b'a'), (2.0, b'a')], 1, 2), Some("a member that is there twice"));
    assert_eq!(zset(&[(f64::NAN, b'a')], 1, 2), Some("a score that is not a number"));
    assert_eq!(zset(&[(-0.0, b'a')], 1, 2), Some("a zero that this form does not hold"));
}

/// What a frozen collection is written as.
fn thawed(frozen: Frozen) -> Vec<u8> {
    let (mut bytes, mut piece_max) = (Vec::new(), 0);
    let outcome: Result<(), ()> = frozen.encode(&mut |piece| {
        piece_max = piece_max.max(piece.len());
        bytes.extend_from_slice(piece);
        Ok(())
    });
    assert_eq!(outcome, Ok(()));
    assert!(piece_max < 2 * FROZEN_PIECE_BYTES + 100_000, "{piece_max}");
    bytes
}

#[test]
fn what_was_frozen_is_written_as_it_was_whatever_comes_after() {
    let mut random = Random::new("frozen");
    for (range, long, integers) in [(9000, 12, false), (1500, 3000, false), (9000, 0, true)] {
        for kind in KINDS {
            let draw = Draw { range, long, integers };
            let mut object = empty(kind);
            let mut frozen: Vec<(Frozen, Vec<u8>)> = Vec::new();
            let mut count = 0;
            for turn in 0..16 {
                let grows = if turn < 10 { 90 } else { 30 };
                (0..2000).for_each(|_| drop(step(&mut object, &mut random, draw, grows)));
                let bytes = encoded(&object);
                count += usize::from(object.is_large());
                let now = object.freeze();
                assert!(object.heap_bytes() >= now.heap_bytes(), "sharing is counted");
                frozen.push((now, bytes));
                while frozen.len() > random.below(4) {
                    let (then, bytes) = frozen.swap_remove(random.below(frozen.len()));
                    assert!(thawed(then) == bytes, "{kind:?} {draw:?}");
                }
            }
            assert!(count > 3, "{kind:?} {draw:?} was large {count} times");
        }
    }
}

#[test]
fn a_frozen_collection_stops_at_the_first_error() {
    let mut list = Object::List(List::new());
    if let Object::List(list) = &mut list {
        (0..100).for_each(|_| list.push_back(&[b'x'; 10_000]));
    }
    let mut calls = 0;
    let outcome = list.freeze().encode(&mut |_| {
        calls += 1;
        if calls == 3 { Err("full") } else { Ok(()) }
    });
    assert_eq!((outcome, calls), (Err("full"), 3));
}
