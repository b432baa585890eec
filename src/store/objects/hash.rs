//! Hash: fields with values in a dense order.
//!
//! A small hash is one packed allocation and keeps the order of insertion, as Redis' listpack
//! does. Once it has held more than [`PACKED_LEN`] pairs or an element of more than
//! [`PACKED_ELEMENT_BYTES`] it is a table for good: still in the order of insertion, but a
//! removal fills its gap with the last pair. Only that order is observable, never a hasher's.
//!
//! Invariant: the form follows from the extremes alone, so pairs in order and extremes are the
//! whole state. What OBJECT ENCODING shows is judged against Redis' configurable limits and has
//! nothing to do with the form.

mod packed;
mod pair;

use super::dense::{self, Dense, Frozen};
use super::extremes::Extremes;
use crate::limits::{PACKED_ELEMENT_BYTES, PACKED_LEN};
use packed::{PackedIter, PackedPairs};
pub use pair::Pair;
use std::hash::Hasher;

/// Fields with values.
#[derive(Clone, Debug, Default)]
pub struct Hash {
    form: Form,
    extremes: Extremes,
}

#[derive(Clone, Debug)]
enum Form {
    Packed(PackedPairs),
    Table(Box<Table>),
}

#[derive(Clone, Debug, Default)]
struct Table {
    pairs: Dense<Pair>,
    /// Bytes of all pairs.
    pair_bytes: usize,
}

impl Default for Form {
    fn default() -> Form {
        Form::Packed(PackedPairs::default())
    }
}

impl Hash {
    /// An empty hash.
    pub fn new() -> Hash {
        Hash::default()
    }

    /// An empty hash with a past: inserting the pairs of another in its order, under its
    /// extremes, gives a hash that behaves as that one does.
    pub fn with_extremes(extremes: Extremes) -> Hash {
        let mut hash = Hash { form: Form::default(), extremes };
        hash.fit_form();
        hash
    }

    /// The largest this hash has ever been.
    pub fn extremes(&self) -> Extremes {
        self.extremes
    }

    /// Fields held.
    pub fn len(&self) -> usize {
        match &self.form {
            Form::Packed(packed) => packed.len(),
            Form::Table(table) => table.pairs.len(),
        }
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets `field` to `value`; true when the field is new.
    pub fn insert(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.extremes.note_element(field);
        self.extremes.note_element(value);
        if let Form::Packed(packed) = &self.form
            && packed.len() == PACKED_LEN
            && packed.get(field).is_none()
        {
            self.extremes.note_len(PACKED_LEN + 1);
        }
        self.fit_form();
        let is_new = match &mut self.form {
            Form::Packed(packed) => packed.insert(field, value),
            Form::Table(table) => table.insert(field, value),
        };
        self.extremes.note_len(self.len());
        is_new
    }

    /// The value of `field`.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match &self.form {
            Form::Packed(packed) => packed.get(field),
            Form::Table(table) => table.get(field),
        }
    }

    /// True when `field` is there.
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Removes `field`; true when it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.form {
            Form::Packed(packed) => packed.remove(field),
            Form::Table(table) => table.remove(field),
        }
    }

    /// The pair at `index` of the dense order.
    pub fn get_index(&self, index: usize) -> Option<(&[u8], &[u8])> {
        match &self.form {
            Form::Packed(packed) => packed.iter().nth(index).map(|pair| (pair.field, pair.value)),
            Form::Table(table) => table.pairs.get(index).map(|pair| (pair.field(), pair.value())),
        }
    }

    /// All pairs in the dense order.
    pub fn iter(&self) -> Iter<'_> {
        let source = match &self.form {
            Form::Packed(packed) => Source::Packed(packed.iter()),
            Form::Table(table) => Source::Table(table.pairs.iter()),
        };
        Iter { source, left: self.len() }
    }

    /// The pairs as they are now, in the dense order; `None` for a packed hash, which is small.
    pub fn freeze(&mut self) -> Option<Frozen<Pair>> {
        match &mut self.form {
            Form::Packed(_) => None,
            Form::Table(table) => Some(table.pairs.freeze()),
        }
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        match &self.form {
            Form::Packed(packed) => packed.heap_bytes(),
            Form::Table(table) => size_of::<Table>() + table.pairs.heap_bytes() + table.pair_bytes,
        }
    }

    /// The encoding that Redis shows under these limits (`hash-max-listpack-entries`,
    /// `hash-max-listpack-value`).
    pub fn encoding(&self, max_entries: usize, max_value: usize) -> &'static str {
        if self.extremes.within(max_entries, max_value) { "listpack" } else { "hashtable" }
    }

    /// Feeds the whole observable state to `state`.
    pub fn digest(&self, state: &mut impl Hasher) {
        self.extremes.digest(state);
        state.write_u64(self.len() as u64);
        for (field, value) in self.iter() {
            for element in [field, value] {
                state.write_u64(element.len() as u64);
                state.write(element);
            }
        }
    }

    /// Leaves the packed form when the extremes say so.
    fn fit_form(&mut self) {
        let Form::Packed(packed) = &self.form else { return };
        if self.extremes.within(PACKED_LEN, PACKED_ELEMENT_BYTES) {
            return;
        }
        let mut table = Box::<Table>::default();
        for pair in packed.iter() {
            table.insert(pair.field, pair.value);
        }
        self.form = Form::Table(table);
    }
}

impl Table {
    fn insert(&mut self, field: &[u8], value: &[u8]) -> bool {
        let found = self.pairs.find(field);
        if let Some(pair) = found.and_then(|position| self.pairs.get_mut(position)) {
            self.pair_bytes -= pair.heap_bytes();
            pair.set_value(value);
            self.pair_bytes += pair.heap_bytes();
            return false;
        }
        let pair = Pair::new(field, value);
        self.pair_bytes += pair.heap_bytes();
        self.pairs.push(pair);
        true
    }

    fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.pairs.get(self.pairs.find(field)?).map(Pair::value)
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        let found = self.pairs.find(field);
        let removed = found.and_then(|position| self.pairs.swap_remove(position));
        self.pair_bytes -= removed.as_ref().map_or(0, Pair::heap_bytes);
        removed.is_some()
    }
}

/// The pairs of a hash in the dense order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    source: Source<'a>,
    left: usize,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    Packed(PackedIter<'a>),
    Table(dense::Iter<'a, Pair>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        self.left = self.left.saturating_sub(1);
        match &mut self.source {
            Source::Packed(iter) => iter.next().map(|pair| (pair.field, pair.value)),
            Source::Table(iter) => iter.next().map(|pair| (pair.field(), pair.value())),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::objects::testing::Random;

    type Model = Vec<(Vec<u8>, Vec<u8>)>;

    fn check(hash: &Hash, model: &Model) {
        assert_eq!(hash.len(), model.len());
        assert_eq!(hash.iter().len(), model.len());
        assert!(hash.iter().eq(model.iter().map(|(field, value)| (&field[..], &value[..]))));
        if let Form::Table(table) = &hash.form {
            let pair_bytes: usize = table.pairs.iter().map(Pair::heap_bytes).sum();
            let order_bytes = table.pairs.heap_bytes();
            assert_eq!(hash.heap_bytes(), size_of::<Table>() + order_bytes + pair_bytes);
        }
        let packed = matches!(hash.form, Form::Packed(_));
        assert_eq!(packed, hash.extremes.within(PACKED_LEN, PACKED_ELEMENT_BYTES));
    }

    fn digest(hash: &Hash) -> u64 {
        let mut state = std::hash::DefaultHasher::new();
        hash.digest(&mut state);
        state.finish()
    }

    /// One random operation on both; `fields` is how many different ones there are.
    fn step(random: &mut Random, hash: &mut Hash, model: &mut Model, fields: usize, long: usize) {
        let mut field = format!("f{}", random.below(fields)).into_bytes();
        if random.below(4) == 0 {
            field.extend(std::iter::repeat_n(b'x', random.below(long + 1)));
        }
        let found = model.iter().position(|(f, _)| *f == field);
        assert_eq!(hash.get(&field), found.map(|at| &model[at].1[..]));
        if random.below(3) == 0 {
            let packed = matches!(hash.form, Form::Packed(_));
            assert_eq!(hash.remove(&field), found.is_some());
            match found {
                Some(at) if packed => drop(model.remove(at)),
                Some(at) => drop(model.swap_remove(at)),
                None => {}
            }
            return;
        }
        let value = random.bytes(long);
        assert_eq!(hash.insert(&field, &value), found.is_none());
        match found {
            Some(at) => model[at].1 = value,
            None => model.push((field, value)),
        }
    }

    #[test]
    fn behaves_as_a_list_of_pairs() {
        let mut random = Random::new("hash");
        for (fields, long) in [(20, 60), (100, 20), (400, 30), (400, 300), (3, 1000), (1, 1)] {
            let mut hash = Hash::new();
            let mut model = Model::new();
            for count in 0..4000 {
                step(&mut random, &mut hash, &mut model, fields, long);
                if count % 61 == 0 {
                    check(&hash, &model);
                    let index = random.below(model.len() + 2);
                    let expected = model.get(index).map(|(f, v)| (&f[..], &v[..]));
                    assert_eq!(hash.get_index(index), expected);
                }
            }
            let copy = hash.clone();
            check(&copy, &model);
            assert_eq!(digest(&copy), digest(&hash));
            while let Some((field, _)) = model.pop() {
                assert!(hash.remove(&field));
            }
            check(&hash, &model);
        }
    }

    #[test]
    fn pairs_in_order_under_their_extremes_give_the_same_hash() {
        let mut random = Random::new("hash extremes");
        for fields in [30, 300] {
            let (mut hash, mut model) = (Hash::new(), Model::new());
            for _ in 0..2000 {
                step(&mut random, &mut hash, &mut model, fields, 60);
            }
            let mut other = Hash::with_extremes(hash.extremes());
            for (field, value) in hash.iter() {
                other.insert(field, value);
            }
            let mut other_model = model.clone();
            assert_eq!(digest(&other), digest(&hash));
            for _ in 0..500 {
                let seed = random.next();
                step(&mut Random::at(seed), &mut hash, &mut model, fields, 60);
                step(&mut Random::at(seed), &mut other, &mut other_model, fields, 60);
                assert_eq!(digest(&other), digest(&hash));
            }
        }
    }

    #[test]
    fn encoding_remembers_the_largest_past() {
        let mut hash = Hash::new();
        hash.insert(b"f", b"v");
        assert_eq!(hash.encoding(128, 64), "listpack");
        assert_eq!(hash.encoding(0, 64), "hashtable");
        hash.insert(b"f", &[b'v'; 65]);
        hash.insert(b"f", b"v");
        assert_eq!(hash.encoding(128, 64), "hashtable");
        assert_eq!(hash.encoding(128, 65), "listpack");

        let mut hash = Hash::new();
        for i in 0..129 {
            assert_eq!(hash.encoding(128, 64), "listpack");
            hash.insert(format!("{i}").as_bytes(), b"");
        }
        assert_eq!(hash.encoding(128, 64), "hashtable");
        hash.remove(b"0");
        assert_eq!(hash.encoding(128, 64), "hashtable");
        assert_eq!(hash.encoding(512, 64), "listpack");
    }

    #[test]
    fn an_overwrite_at_the_limit_stays_packed() {
        let mut hash = Hash::new();
        for i in 0..PACKED_LEN {
            hash.insert(format!("{i}").as_bytes(), b"a");
        }
        assert!(!hash.insert(b"5", b"b"));
        assert!(matches!(hash.form, Form::Packed(_)));
        assert!(hash.insert(b"new", b"b"));
        assert!(matches!(hash.form, Form::Table(_)));
        assert_eq!(hash.get_index(128), Some((&b"new"[..], &b"b"[..])));
    }

    #[test]
    fn a_pair_costs_less_than_forty_bytes_beside_its_own() {
        let mut hash = Hash::new();
        for i in 0..100_000 {
            hash.insert(format!("field:{i:06}").as_bytes(), b"0123456789");
        }
        let overhead = hash.heap_bytes() / 100_000 - 22;
        assert!(overhead < 40, "{overhead}");
    }
}
