//! Sets: distinct byte strings in a dense order of their own.
//!
//! ```text
//!   integers only, up to 512         a sorted array             (set/ints.rs)
//!   up to 128 members of 64 bytes    one buffer and hash tags   (set/packed.rs)
//!   otherwise                        a dense array and an index (set/table.rs)
//! ```
//!
//! Every member has an index below `len()`: a random member is the one at a random index, so
//! that the same seed draws the same members from equal sets wherever they live. Insertion
//! appends and removal moves the last member into the hole, but for sorted integers, whose
//! order is that of the numbers.
//!
//! Invariant: the form is a function of what the set has ever held (`extremes`,
//! `integers_only`), not of configuration and not of the hasher, whose seed differs from process
//! to process. Thus two sets with the same history agree on every index for good.

mod ints;
mod packed;
mod table;

use super::Extremes;
use super::dense::Frozen;
use crate::limits::{PACKED_ELEMENT_BYTES, PACKED_LEN, SET_INTS_MAX};
use crate::util::int::parse_i64;
use ints::Ints;
use packed::Packed;
use std::hash::Hasher;
use std::ops::Deref;
pub use table::Slot;
use table::Table;

/// Distinct byte strings.
#[derive(Clone, Debug)]
pub struct Set {
    form: Form,
    extremes: Extremes,
    /// No member was ever anything but an integer in canonical form.
    integers_only: bool,
}

#[derive(Clone, Debug)]
enum Form {
    Ints(Ints),
    Packed(Packed),
    Table(Box<Table>),
}

/// One member; derefs to its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a>(Spelling<'a>);

#[derive(Clone, Copy, Debug)]
enum Spelling<'a> {
    Bytes(&'a [u8]),
    Digits { len: u8, digits: [u8; 20] },
}

impl Member<'_> {
    fn of_integer(value: i64) -> Self {
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(value).as_bytes();
        let mut digits = [0; 20];
        digits[..text.len()].copy_from_slice(text);
        Member(Spelling::Digits { len: text.len() as u8, digits })
    }
}

impl Deref for Member<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Spelling::Bytes(bytes) => bytes,
            Spelling::Digits { len, digits } => &digits[..usize::from(*len)],
        }
    }
}

impl Default for Set {
    fn default() -> Set {
        Set {
            form: Form::Ints(Ints::default()),
            extremes: Extremes::default(),
            integers_only: true,
        }
    }
}

impl Set {
    /// An empty set.
    pub fn new() -> Set {
        Set::default()
    }

    /// An empty set with a past: inserting the members of another in its dense order, under its
    /// history, gives a set that behaves as that one does.
    pub fn with_history(extremes: Extremes, integers_only: bool) -> Set {
        let mut set = Set { extremes, integers_only, ..Set::default() };
        set.fit_form();
        set
    }

    /// The largest this set has ever been.
    pub fn extremes(&self) -> Extremes {
        self.extremes
    }

    /// True when no member was ever anything but an integer in canonical form.
    pub fn integers_only(&self) -> bool {
        self.integers_only
    }

    /// Members held.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.form {
            Form::Ints(ints) => ints.len(),
            Form::Packed(packed) => packed.len(),
            Form::Table(table) => table.len(),
        }
    }

    /// True when there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The members as they are now, in the dense order; `None` for the small forms.
    pub fn freeze(&mut self) -> Option<Frozen<Slot>> {
        match &mut self.form {
            Form::Ints(_) | Form::Packed(_) => None,
            Form::Table(table) => Some(table.freeze()),
        }
    }

    /// Heap bytes held, known without a count.
    pub fn heap_bytes(&self) -> usize {
        match &self.form {
            Form::Ints(ints) => ints.heap_bytes(),
            Form::Packed(packed) => packed.heap_bytes(),
            Form::Table(table) => size_of::<Table>() + table.heap_bytes(),
        }
    }

    /// The name OBJECT ENCODING shows, under `set-max-intset-entries`.
    pub fn encoding(&self, intset_entries_max: usize) -> &'static str {
        if self.is_intset(intset_entries_max) { "intset" } else { "hashtable" }
    }

    /// Adds `member`; false when it was in already.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        let Form::Table(table) = &mut self.form else { return self.insert_small(member) };
        if !table.insert(member) {
            return false;
        }
        self.note(member, self.len());
        true
    }

    /// Removes `member`; false when it was not in.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        self.find(member).is_some_and(|index| self.remove_index(index))
    }

    /// True when `member` is in.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.find(member).is_some()
    }

    /// The member at `index` of the dense order: what a random draw below `len()` picks.
    #[inline]
    pub fn get_index(&self, index: usize) -> Option<Member<'_>> {
        if index >= self.len() {
            return None;
        }
        Some(match &self.form {
            Form::Ints(ints) => Member::of_integer(ints.get(index)),
            Form::Packed(packed) => Member(Spelling::Bytes(packed.get(index))),
            Form::Table(table) => Member(Spelling::Bytes(table.get(index))),
        })
    }

    /// Removes the member at `index` of the dense order; false when there is none. The last
    /// member takes its place, or, among sorted integers, the next one does.
    pub fn remove_index(&mut self, index: usize) -> bool {
        if index >= self.len() {
            return false;
        }
        match &mut self.form {
            Form::Ints(ints) => ints.remove(index),
            Form::Packed(packed) => packed.swap_remove(index),
            Form::Table(table) => table.swap_remove(index),
        }
        true
    }

    /// All members in the dense order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Member<'_>> {
        (0..self.len()).map(|index| match &self.form {
            Form::Ints(ints) => Member::of_integer(ints.get(index)),
            Form::Packed(packed) => Member(Spelling::Bytes(packed.get(index))),
            Form::Table(table) => Member(Spelling::Bytes(table.get(index))),
        })
    }

    /// All members as SMEMBERS shows them: ascending while Redis would keep an intset (under
    /// `set-max-intset-entries`), else in the dense order.
    pub fn iter_shown(
        &self,
        intset_entries_max: usize,
    ) -> impl ExactSizeIterator<Item = Member<'_>> {
        let sorts = self.is_intset(intset_entries_max) && matches!(self.form, Form::Table(_));
        let mut order: Vec<(i64, usize)> = Vec::new();
        if sorts {
            let value = |member: Member<'_>| parse_i64(&member).unwrap_or_default();
            order.extend(self.iter().enumerate().map(|(index, member)| (value(member), index)));
            order.sort_unstable();
        }
        let index = move |at: usize| order.get(at).map_or(at, |&(_, index)| index);
        (0..self.len()).map(move |at| match &self.form {
            Form::Ints(ints) => Member::of_integer(ints.get(at)),
            Form::Packed(packed) => Member(Spelling::Bytes(packed.get(at))),
            Form::Table(table) => Member(Spelling::Bytes(table.get(index(at)))),
        })
    }

    /// True when both hold the same members, in whatever order.
    pub fn same_content(&self, other: &Set) -> bool {
        self.len() == other.len() && self.iter().all(|member| other.contains(&member))
    }

    /// Feeds the history and the members in the dense order: what later draws depend on.
    pub fn digest(&self, hasher: &mut impl Hasher) {
        self.extremes.digest(hasher);
        hasher.write_u8(u8::from(self.integers_only));
        hasher.write_u64(self.len() as u64);
        for member in self.iter() {
            hasher.write_u64(member.len() as u64);
            hasher.write(&member);
        }
    }

    fn is_intset(&self, entries_max: usize) -> bool {
        self.integers_only && self.extremes.len_max <= entries_max
    }

    fn find(&self, member: &[u8]) -> Option<usize> {
        match &self.form {
            Form::Ints(ints) => ints.find(member),
            Form::Packed(packed) => packed.find(member),
            Form::Table(table) => table.find(member),
        }
    }

    fn note(&mut self, member: &[u8], len: usize) {
        self.extremes.note_element(member);
        self.extremes.note_len(len);
        self.integers_only = self.integers_only && parse_i64(member).is_some();
    }

    /// Inserts into a small form, which may become a larger one by it.
    fn insert_small(&mut self, member: &[u8]) -> bool {
        if self.contains(member) {
            return false;
        }
        self.note(member, self.len() + 1);
        self.fit_form();
        match &mut self.form {
            Form::Ints(ints) => ints.insert(parse_i64(member).unwrap_or_default()),
            Form::Packed(packed) => packed.push(member),
            Form::Table(table) => return table.insert(member),
        }
        true
    }

    /// Gives the members the form that the set's history asks for.
    fn fit_form(&mut self) {
        let short = self.extremes.within(PACKED_LEN, PACKED_ELEMENT_BYTES);
        match &self.form {
            Form::Ints(_) if self.is_intset(SET_INTS_MAX) => {}
            Form::Packed(_) if short => {}
            Form::Table(_) => {}
            _ if short => self.form = Form::Packed(self.iter().collect()),
            _ => self.form = Form::Table(Box::new(self.iter().collect())),
        }
    }
}

impl<'a> FromIterator<Member<'a>> for Packed {
    /// A packed form with these members, which are distinct.
    fn from_iter<T: IntoIterator<Item = Member<'a>>>(members: T) -> Packed {
        let mut packed = Packed::default();
        members.into_iter().for_each(|member| packed.push(&member));
        packed
    }
}

impl<'a> FromIterator<Member<'a>> for Table {
    /// A table with these members in their order.
    fn from_iter<T: IntoIterator<Item = Member<'a>>>(members: T) -> Table {
        let mut table = Table::default();
        for member in members {
            table.insert(&member);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;
    use std::collections::HashSet;
    use std::hash::DefaultHasher;

    /// The naive twin: a vector, and the rules for its order in their own words.
    #[derive(Default)]
    struct Model {
        members: Vec<Vec<u8>>,
        len_max: usize,
        other_than_integer: bool,
    }

    impl Model {
        fn sorts(&self) -> bool {
            !self.other_than_integer && self.len_max <= 512
        }

        fn insert(&mut self, member: &[u8]) -> bool {
            if self.members.iter().any(|other| other == member) {
                return false;
            }
            self.members.push(member.to_vec());
            self.len_max = self.len_max.max(self.members.len());
            self.other_than_integer |= number(member).is_none();
            if self.sorts() {
                self.members.sort_by_key(|member| number(member));
            }
            true
        }

        fn remove_index(&mut self, index: usize) -> bool {
            if index >= self.members.len() {
                return false;
            }
            if self.sorts() {
                self.members.remove(index);
            } else {
                self.members.swap_remove(index);
            }
            true
        }
    }

    fn number(member: &[u8]) -> Option<i64> {
        let text = std::str::from_utf8(member).ok()?;
        text.parse::<i64>().ok().filter(|value| value.to_string() == text)
    }

    fn check(set: &Set, model: &Model) {
        assert_eq!(set.len(), model.members.len());
        assert!(set.iter().map(|member| member.to_vec()).eq(model.members.iter().cloned()));
        if let Form::Table(table) = &set.form {
            assert_eq!(table.heap_bytes(), table.count_heap_bytes());
        }
        for (index, member) in model.members.iter().enumerate() {
            assert!(set.contains(member));
            assert_eq!(set.get_index(index).as_deref(), Some(member.as_slice()));
        }
        assert!(set.get_index(model.members.len()).is_none());
        assert_eq!(set.encoding(512), if model.sorts() { "intset" } else { "hashtable" });
    }

    /// What kind of members a run draws.
    #[derive(Clone, Copy, Debug)]
    enum Draw {
        Integers,
        Short,
        Any,
    }

    fn member(rng: &mut SplitMix64, draw: Draw, range: u64) -> Vec<u8> {
        let value = rng.below(range) as i64 - range as i64 / 3;
        match draw {
            Draw::Integers if rng.below(20) == 0 => (value << 20).to_string().into_bytes(),
            Draw::Integers => value.to_string().into_bytes(),
            Draw::Short => format!("m{value}").into_bytes(),
            Draw::Any => match rng.below(3) {
                0 => value.to_string().into_bytes(),
                1 => format!("member:{value}").into_bytes(),
                _ => vec![b'x'; value.unsigned_abs() as usize],
            },
        }
    }

    fn run(seed: u64, draw: Draw, range: u64, steps: usize) {
        println!("seed {seed}, {draw:?} below {range}");
        let mut rng = SplitMix64::new(seed);
        let (mut set, mut model) = (Set::new(), Model::default());
        for step in 0..steps {
            let item = member(&mut rng, draw, range);
            // Grow for two thirds of the run, shrink afterwards.
            let grows = if step < steps * 2 / 3 { 6 } else { 2 };
            if rng.below(10) < grows {
                assert_eq!(set.insert(&item), model.insert(&item));
            } else if rng.below(2) == 0 {
                let found = model.members.iter().position(|other| *other == item);
                assert_eq!(set.remove(&item), found.is_some());
                found.map(|index| model.remove_index(index));
            } else {
                let index = rng.below(set.len() as u64 + 1) as usize;
                assert_eq!(set.remove_index(index), model.remove_index(index));
            }
            if step % 64 == 0 {
                check(&set, &model);
            }
        }
        check(&set, &model);
        check(&set.clone(), &model);
        let mut copy = Set::with_history(set.extremes(), set.integers_only());
        set.iter().for_each(|member| assert!(copy.insert(&member)));
        check(&copy, &model);
        assert_eq!(std::mem::discriminant(&copy.form), std::mem::discriminant(&set.form));
    }

    #[test]
    fn random_operations_agree_with_a_naive_set() {
        for seed in 0..12 {
            for draw in [Draw::Integers, Draw::Short, Draw::Any] {
                for range in [20, 150, 3000] {
                    run(seed, draw, range, 1500);
                }
            }
        }
    }

    #[test]
    fn every_form_agrees_when_a_set_is_emptied_in_random_order() {
        for count in [100u64, 500, 20_000] {
            let mut rng = SplitMix64::new(count);
            let (mut set, mut left) = (Set::new(), HashSet::new());
            for n in 0..count {
                let item = format!("{:0width$}", n, width = 1 + (n % 40) as usize);
                set.insert(item.as_bytes());
                left.insert(item.into_bytes());
            }
            assert_eq!(set.len(), left.len());
            while !set.is_empty() {
                let index = rng.below(set.len() as u64) as usize;
                let drawn = set.get_index(index).map(|member| member.to_vec());
                assert!(set.remove_index(index));
                assert!(drawn.is_some_and(|drawn| left.remove(&drawn)));
            }
            assert!(left.is_empty());
            assert!(set.heap_bytes() < 4096, "{} bytes in an empty set", set.heap_bytes());
        }
    }

    fn with(members: impl IntoIterator<Item = String>) -> Set {
        let mut set = Set::new();
        members.into_iter().for_each(|member| {
            set.insert(member.as_bytes());
        });
        set
    }

    fn shown(set: &Set, limit: usize) -> Vec<String> {
        set.iter_shown(limit).map(|member| String::from_utf8_lossy(&member).into_owned()).collect()
    }

    #[test]
    fn integers_are_shown_ascending_while_redis_would_keep_an_intset() {
        assert_eq!(
            shown(&with(["3", "-1", "20", "5"].map(String::from)), 512),
            ["-1", "3", "5", "20"]
        );
        let large = with((0..600).rev().map(|n: i64| n.to_string()));
        assert_eq!(large.encoding(512), "hashtable");
        assert_eq!(large.encoding(1000), "intset");
        let ascending: Vec<String> = (0..600).map(|n| n.to_string()).collect();
        assert_eq!(shown(&large, 1000), ascending);
        assert_ne!(shown(&large, 512), ascending);
        assert_eq!(large.iter_shown(512).len(), 600);
    }

    #[test]
    fn a_set_never_becomes_an_intset_again() {
        let mut set = with(["1", "2", "x"].map(String::from));
        assert_eq!(set.encoding(512), "hashtable");
        assert!(set.remove(b"x"));
        assert_eq!(set.encoding(512), "hashtable");
        for text in ["01", "+1", "-0", " 1", "1 ", "", "9223372036854775808", "1.0", "0x1"] {
            assert_eq!(with([text.to_string()]).encoding(512), "hashtable", "{text:?}");
        }
        let set = with(["0", "-9223372036854775808", "9223372036854775807"].map(String::from));
        assert_eq!(set.encoding(512), "intset");
        assert_eq!(set.encoding(2), "hashtable");
    }

    #[test]
    fn a_member_costs_little() {
        for (count, limit) in [(100, 4), (100_000, 32)] {
            let set = with((0..count).map(|n| format!("element:{n:012}")));
            let overhead = set.heap_bytes() as f64 / f64::from(count) - 20.0;
            assert!(overhead < f64::from(limit) + 6.0, "{overhead} B for {count} members");
        }
        let set = with((0..500).map(|n| n.to_string()));
        assert!(set.heap_bytes() < 1300, "{} bytes for 500 integers", set.heap_bytes());
    }

    #[test]
    fn digest_depends_on_order_and_history_and_content_does_not() {
        let digest = |set: &Set| {
            let mut hasher = DefaultHasher::new();
            set.digest(&mut hasher);
            hasher.finish()
        };
        let one = with(["a", "b", "c"].map(String::from));
        let two = with(["a", "c", "b"].map(String::from));
        assert!(one.same_content(&two));
        assert_ne!(digest(&one), digest(&two));
        assert_eq!(digest(&one), digest(&one.clone()));
        let mut longer = with(["a", "b", "c", "d"].map(String::from));
        longer.remove(b"d");
        assert!(one.same_content(&longer));
        assert_ne!(digest(&one), digest(&longer));
        longer.remove(b"a");
        assert!(!one.same_content(&longer));
    }
}
