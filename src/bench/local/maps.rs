//! Maps that can be read by several threads: ours, and what else one could take.
//!
//! All hash with foldhash, so what is compared is the table and not the hash.

use super::BATCH_MAX;
use crate::store::{EntryRef, Hint, Key, Store, Value};
use crate::sync::reclaim;
use foldhash::quality::RandomState;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};

/// Bytes of a key.
pub const KEY_BYTES: usize = 16;
/// Shards of the sharded map.
const SHARDS: usize = 512;

/// A key.
pub type Name = [u8; KEY_BYTES];

/// A map that is filled once and then read.
pub trait Reads: Sync {
    /// What it is.
    fn name(&self) -> &'static str;
    /// Adds a key.
    fn put(&mut self, name: &Name, value: &[u8]);
    /// Looks the keys up (at most [`BATCH_MAX`]), touches each value found, and returns a sum
    /// that depends on all of them.
    fn get_all(&self, names: &[Name]) -> usize;
}

/// Every map that is built in.
pub fn all() -> Vec<Box<dyn Reads>> {
    let maps: Vec<Box<dyn Reads>> =
        vec![Box::new(Ours(Store::new(1))), Box::<OneMutex>::default(), Box::<Sharded>::default()];
    #[cfg(feature = "bench-peers")]
    let maps = maps.into_iter().chain(peers::all()).collect();
    maps
}

fn touch(value: &[u8]) -> usize {
    value.len() + usize::from(value.first().copied().unwrap_or(0))
}

struct Ours(Store);

impl Reads for Ours {
    fn name(&self) -> &'static str {
        "dse"
    }

    fn put(&mut self, name: &Name, value: &[u8]) {
        let key = self.0.key(name);
        self.0.lock_one(key.shard()).put(0, &key, Value::Str(value), None);
    }

    #[inline]
    fn get_all(&self, names: &[Name]) -> usize {
        let (store, pin) = (&self.0, reclaim::pin());
        let touch = |entry: Option<EntryRef<'_>>| entry.map_or(0, |entry| touch(entry.value()));
        if let [name] = names {
            return touch(store.get(&pin, 0, &store.key(name)));
        }
        let Some(first) = names.first() else { return 0 };
        let nothing = Step { key: store.key(first), hint: Hint::default() };
        let mut steps = [nothing; BATCH_MAX];
        for (step, name) in steps.iter_mut().zip(names) {
            step.key = store.key(name);
            step.hint = store.locate(&pin, 0, &step.key);
        }
        let steps = &mut steps[..names.len().min(BATCH_MAX)];
        steps.iter_mut().for_each(|step| step.hint.approach());
        steps.iter().map(|step| touch(store.get_hinted(&pin, 0, &step.key, &step.hint))).sum()
    }
}

/// A lookup under way.
#[derive(Clone, Copy)]
struct Step<'a> {
    key: Key<'a>,
    hint: Hint<'a>,
}

type Map = HashMap<Name, Box<[u8]>, RandomState>;

#[derive(Default)]
struct OneMutex(Mutex<Map>);

impl Reads for OneMutex {
    fn name(&self) -> &'static str {
        "one mutex"
    }

    fn put(&mut self, name: &Name, value: &[u8]) {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).insert(*name, value.into());
    }

    fn get_all(&self, names: &[Name]) -> usize {
        let get = |name| {
            let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            map.get(name).map_or(0, |value| touch(value))
        };
        names.iter().map(get).sum()
    }
}

struct Sharded {
    hasher: RandomState,
    shards: Vec<RwLock<Map>>,
}

impl Default for Sharded {
    fn default() -> Sharded {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Sharded { hasher: RandomState::default(), shards }
    }
}

impl Sharded {
    fn shard(&self, name: &Name) -> usize {
        use std::hash::BuildHasher;
        (self.hasher.hash_one(name) >> 55) as usize % SHARDS
    }
}

impl Reads for Sharded {
    fn name(&self) -> &'static str {
        "512 rwlocks"
    }

    fn put(&mut self, name: &Name, value: &[u8]) {
        let shard = self.shard(name);
        let map = self.shards[shard].get_mut().unwrap_or_else(PoisonError::into_inner);
        map.insert(*name, value.into());
    }

    fn get_all(&self, names: &[Name]) -> usize {
        let get = |name| {
            let shard = &self.shards[self.shard(name)];
            let map = shard.read().unwrap_or_else(PoisonError::into_inner);
            map.get(name).map_or(0, |value| touch(value))
        };
        names.iter().map(get).sum()
    }
}

#[cfg(feature = "bench-peers")]
mod peers {
    //! Maps of other packages.

    use super::{Name, RandomState, Reads, touch};

    pub fn all() -> [Box<dyn Reads>; 2] {
        [Box::<DashMap>::default(), Box::<Papaya>::default()]
    }

    #[derive(Default)]
    struct DashMap(dashmap::DashMap<Name, Box<[u8]>, RandomState>);

    impl Reads for DashMap {
        fn name(&self) -> &'static str {
            "dashmap"
        }

        fn put(&mut self, name: &Name, value: &[u8]) {
            self.0.insert(*name, value.into());
        }

        fn get_all(&self, names: &[Name]) -> usize {
            let get = |name| self.0.get(name).map_or(0, |value| touch(&value));
            names.iter().map(get).sum()
        }
    }

    #[derive(Default)]
    struct Papaya(papaya::HashMap<Name, Box<[u8]>, RandomState>);

    impl Reads for Papaya {
        fn name(&self) -> &'static str {
            "papaya"
        }

        fn put(&mut self, name: &Name, value: &[u8]) {
            self.0.pin().insert(*name, value.into());
        }

        fn get_all(&self, names: &[Name]) -> usize {
            let map = self.0.pin();
            names.iter().map(|name| map.get(name).map_or(0, |value| touch(value))).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_maps_find_the_same() {
        let name = |number: u64| -> Name {
            format!("key:{number:012}").as_bytes().try_into().expect("16 bytes")
        };
        for mut map in all() {
            (0..1000).for_each(|number| map.put(&name(number), &[number as u8; 10]));
            for number in [0, 1, 255, 999] {
                let wanted = 10 + usize::from(number as u8);
                assert_eq!(map.get_all(&[name(number)]), wanted, "{}", map.name());
            }
            let names: Vec<Name> = (994..1010).map(name).collect();
            let wanted: usize = (994..1000u64).map(|n| 10 + usize::from(n as u8)).sum();
            assert_eq!(map.get_all(&names), wanted, "{}", map.name());
        }
    }
}
