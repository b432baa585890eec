//! Reading without a lock: in one step, or in several with a hint that is carried from one to the
//! next, so that the cache misses of a batch overlap.
//!
//! A [`Hint`] remembers the home bucket of a hash and the slot that probably has the key, under the
//! pin that the lookup is done with. It is good while the shard's sequence is what it was before
//! the way was walked; then the bucket is where the way leads now. The slot is loaded anew in any
//! case.

use super::*;
use crate::store::hash::Key;

/// A miss that could not be validated: a writer was there.
pub struct Torn;

/// What a reader of several keys noted of one of them: the home's version, or that there was no
/// table.
#[derive(Clone, Copy)]
pub struct Note<'p>(Option<(&'p Bucket, u32)>);

/// Where a hash was found to belong.
#[derive(Clone, Copy, Default)]
pub struct Hint<'p> {
    /// None: nothing is known.
    home: Option<Home<'p>>,
    hash: u64,
    /// The shard's sequence before the way to the home was walked.
    seen: u64,
    /// The word of the slot of the home bucket that probably has the key.
    word: Word,
    hash_slot: u16,
    db: u8,
    slot: u8,
}

impl<'p> Hint<'p> {
    /// The key that it was made for, whose bytes are `bytes`.
    #[inline(always)]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key { bytes, hash: self.hash, hash_slot: self.hash_slot }
    }

    /// The home of `hash`, if it is known and the shard's sequence has not moved on.
    #[inline(always)]
    pub(super) fn home(&self, sequence: &ExclusiveSeq, db: u8, hash: u64) -> Option<Home<'p>> {
        if self.hash != hash || self.db != db || !sequence.is_still(self.seen) {
            return None;
        }
        self.home
    }

    /// Asks for the first lines of the entry that the home bucket most likely has, and remembers
    /// its slot. The bucket should have arrived.
    #[inline(always)]
    pub fn approach(&mut self) {
        let Some(home) = self.home else { return };
        let mark = mark(self.hash, 0);
        let found = home.bucket().words().find(|(_, word)| word.mark() == mark);
        let Some((slot, word)) = found else { return };
        (self.slot, self.word) = (slot as u8, word);
        if let Some(entry) = word.entry() {
            prefetch_read(entry.as_ptr());
            prefetch_read(entry.as_ptr().wrapping_add(size_of::<Bucket>()));
        }
    }

    /// The entry of `key` if the slot that was remembered still has it.
    #[inline(always)]
    fn guess(&self, home: &Home<'p>, key: &[u8]) -> Option<Spot<'p>> {
        let slot = usize::from(self.slot) % BUCKET_SLOTS;
        let word = home.bucket().load(slot);
        if word == Word::EMPTY || word != self.word {
            return None;
        }
        let entry = entry_of(word, home.at)?;
        if !entry.has_key(key) {
            return None;
        }
        Some(Spot { entry, segment: home.at.segment, place: Place { distance: 0, slot }, word })
    }
}

impl<S> Tables<S> {
    /// The home of a hash, as a reader finds it; `None` without a table.
    #[inline(always)]
    pub(super) fn home<'a>(&self, access: Access<'a>, db: u8, hash: u64) -> Option<Home<'a>> {
        let directory = self.posts[usize::from(db)].directory(access)?;
        Some(Home::of(directory, hash))
    }

    /// Looks `key` up; marks the entry as visited if `track`.
    #[inline(always)]
    pub fn read<'p>(
        &self,
        pin: &'p Pin,
        db: u8,
        hash: u64,
        key: &[u8],
        track: bool,
    ) -> Result<Option<EntryRef<'p>>, Torn> {
        match self.home(Access::pinned(pin), db, hash) {
            Some(home) => read_home(home, hash, key, track),
            None => Ok(None),
        }
    }

    /// Looks up the key that `hint` is about, with its way remembered; `None` if that is of no use
    /// any more.
    #[inline(always)]
    pub fn read_hinted<'p>(
        &self,
        hint: &Hint<'p>,
        db: u8,
        hash: u64,
        key: &[u8],
        track: bool,
    ) -> Option<Option<EntryRef<'p>>> {
        let home = hint.home(&self.sequence, db, hash)?;
        let found = match hint.guess(&home, key) {
            Some(spot) => {
                if track {
                    mark_used(home.index, &spot);
                }
                Some(spot.entry)
            }
            None => read_home_apart(home, hash, key, track).ok()?,
        };
        if self.sequence.unchanged(hint.seen) { Some(found) } else { None }
    }

    /// Walks to the home of a key and asks for its line.
    #[inline(always)]
    pub fn locate<'p>(&self, pin: &'p Pin, db: u8, key: &Key<'_>) -> Hint<'p> {
        let Key { hash, hash_slot, .. } = *key;
        let mut hint = Hint { hash, hash_slot, db, ..Hint::default() };
        // First the sequence, then the way: see `ExclusiveSeq::moved`.
        if let Some(seen) = self.sequence.check() {
            hint.seen = seen;
            hint.home = self.home(Access::pinned(pin), db, hash);
        }
        if let Some(home) = &hint.home {
            prefetch_read(std::ptr::from_ref(home.bucket()).cast());
        }
        hint
    }

    /// Looks `key` up, with a note by which [`still`](Self::still) can tell whether the answer
    /// holds; marks the entry as used if `track`.
    pub fn read_noted<'p>(
        &self,
        pin: &'p Pin,
        db: u8,
        hash: u64,
        key: &[u8],
        track: bool,
    ) -> Result<(Option<EntryRef<'p>>, Note<'p>), Torn> {
        let Some(home) = self.home(Access::pinned(pin), db, hash) else {
            return Ok((None, Note(None)));
        };
        let begun = home.control().read_begin().ok_or(Torn)?;
        let spot = home.find(ControlWord::reach_of(begun), hash, key);
        if let (Some(spot), true) = (&spot, track) {
            mark_used(home.index, spot);
        }
        Ok((spot.map(|spot| spot.entry), Note(Some((home.bucket(), begun)))))
    }

    /// Whether what [`read_noted`](Self::read_noted) saw has stood there since.
    pub fn still<'p>(&self, pin: &'p Pin, db: u8, hash: u64, note: Note<'p>) -> bool {
        match (note.0, self.home(Access::pinned(pin), db, hash)) {
            (None, None) => true,
            // The same bucket, not one of a segment that was split or of a table that was flushed.
            (Some((bucket, begun)), Some(home)) => {
                std::ptr::eq(bucket, home.bucket()) && bucket.control.read_validate(begun)
            }
            _ => false,
        }
    }
}

/// The same, for those that seldom come here.
#[inline(never)]
fn read_home_apart<'p>(
    home: Home<'p>,
    hash: u64,
    key: &[u8],
    track: bool,
) -> Result<Option<EntryRef<'p>>, Torn> {
    read_home(home, hash, key, track)
}

#[inline(always)]
fn read_home<'p>(
    home: Home<'p>,
    hash: u64,
    key: &[u8],
    track: bool,
) -> Result<Option<EntryRef<'p>>, Torn> {
    let control = home.control();
    let begun = control.read_begin();
    let reach = begun.map_or_else(|| control.reach(), ControlWord::reach_of);
    if let Some(spot) = home.find(reach, hash, key) {
        if track {
            mark_used(home.index, &spot);
        }
        return Ok(Some(spot.entry));
    }
    if begun.is_some_and(|begun| control.read_validate(begun)) { Ok(None) } else { Err(Torn) }
}
