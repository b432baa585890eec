//! Snapshots of random stores come back; whatever is damaged is refused.

use super::*;
use crate::limits::{DATABASES, SHARDS, SNAPSHOT_BLOCK_BYTES};
use crate::store::objects::{Hash, List, Set, ZSet};
use crate::store::{Object, Store, Value, encode_entry};
use crate::sys::disk::{DISK_ALIGN, Directory, Disk, DiskFile, OpenMode};
use crate::util::rng::SplitMix64;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// A directory in memory that notes what it is asked for, and refuses writes after a while.
#[derive(Clone, Default)]
struct Memory {
    files: Arc<Mutex<BTreeMap<String, Bytes>>>,
    log: Arc<Mutex<Vec<String>>>,
    /// The number of writes after which the disk is full; 0 for never.
    full_after: Arc<AtomicUsize>,
}

struct MemoryFile {
    bytes: Bytes,
    disk: Memory,
}

impl Memory {
    fn note(&self, what: String) {
        self.log.lock().expect("the log").push(what);
    }

    fn bytes(&self, name: &str) -> Bytes {
        Arc::clone(&self.files.lock().expect("the files")[name])
    }

    fn names(&self) -> Vec<String> {
        self.files.lock().expect("the files").keys().cloned().collect()
    }

    /// A disk that holds just this file.
    fn holding(name: &str, bytes: Vec<u8>) -> Memory {
        let disk = Memory::default();
        let file = Arc::new(Mutex::new(bytes));
        disk.files.lock().expect("the files").insert(name.to_owned(), file);
        disk
    }
}

impl DiskFile for MemoryFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(bytes.len().is_multiple_of(DISK_ALIGN) && offset.is_multiple_of(4096));
        assert!(bytes.as_ptr().addr().is_multiple_of(DISK_ALIGN));
        if self.disk.full_after.load(Relaxed) > 0 && self.disk.full_after.fetch_sub(1, Relaxed) == 1
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.note("write".into());
        let mut file = self.bytes.lock().expect("the file");
        let end = offset as usize + bytes.len();
        let len = file.len().max(end);
        file.resize(len, 0);
        file[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn write_through_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.bytes.lock().expect("the file");
        let rest = file.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.note("sync file".into());
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().expect("the file").len() as u64)
    }
}

impl Disk for Memory {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut files = self.files.lock().expect("the files");
        if mode == OpenMode::Create && files.insert(name.to_owned(), Bytes::default()).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let bytes = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile { bytes: Arc::clone(bytes), disk: self.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.note(format!("rename {from} {to}"));
        let mut files = self.files.lock().expect("the files");
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().expect("the files").remove(name);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let files = self.files.lock().expect("the files");
        Ok(files.keys().map(|name| (name.clone(), 0)).collect())
    }

    fn sync(&self) -> io::Result<()> {
        self.note("sync directory".into());
        Ok(())
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }
}

fn bytes(rng: &mut SplitMix64, len: u64) -> Vec<u8> {
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

fn object(rng: &mut SplitMix64) -> Object {
    let count = [1, 5, 200, 3000][rng.below(4) as usize];
    let (mut list, mut set) = (List::new(), Set::new());
    let (mut hash, mut zset) = (Hash::new(), ZSet::new());
    let kind = rng.below(4);
    for n in 0..count {
        let len = rng.below(30);
        let element = bytes(rng, len);
        match kind {
            0 => list.push_front(&element),
            1 => _ = set.insert(&element),
            2 => _ = hash.insert(&element, n.to_string().as_bytes()),
            _ => _ = zset.insert(&element, rng.below(50) as f64),
        }
    }
    match kind {
        0 => Object::List(list),
        1 => Object::Set(set),
        2 => Object::Hash(hash),
        _ => Object::ZSet(zset),
    }
}

fn random_store(seed: u64, keys: u64, large: bool) -> Store {
    println!("seed {seed}");
    let (store, mut rng) = (Store::new(seed), SplitMix64::new(seed));
    for n in 0..keys {
        let name = format!("key:{}", rng.below(keys * 4));
        let key = store.key(name.as_bytes());
        let deadline = (rng.below(3) == 0).then(|| rng.below(1 << 45));
        let len = rng.below(200);
        let text = bytes(&mut rng, len);
        let repeated = text.repeat(if large && n % 50 == 0 { 20_000 } else { 1 });
        let value = match rng.below(8) {
            0 => Value::Raw(&[&text]),
            1 => Value::Object(object(&mut rng)),
            _ => Value::Str(&repeated),
        };
        store.lock_one(key.shard()).put(rng.below(16) as u8, &key, value, deadline);
    }
    store
}

/// All entries of a store, in bytes, with their shards.
fn entries(store: &Store) -> Vec<(u16, Vec<u8>)> {
    let mut entries = Vec::new();
    for db in 0..DATABASES as u8 {
        let mut cursor = 0;
        loop {
            cursor = store.scan(db, cursor, 1000, &mut |entry, object| {
                let mut bytes = Vec::new();
                encode_entry(db, entry, object, &mut bytes);
                entries.push((store.key(entry.key()).shard(), bytes));
            });
            if cursor == 0 {
                break;
            }
        }
    }
    entries.sort();
    entries
}

fn meta(snapshot_id: u64, compress: bool) -> SnapshotMeta {
    SnapshotMeta { database_id: 77, snapshot_id, generation: 3, compress }
}

fn cuts() -> [u64; SHARDS] {
    std::array::from_fn(|shard| 1000 + shard as u64)
}

fn save(disk: &Arc<dyn Disk>, store: &Store, meta: SnapshotMeta) -> String {
    let mut writer =
        SnapshotWriter::create(Arc::clone(disk), names::TEMPORARY, meta).expect("begun");
    let entries = entries(store);
    entries.iter().for_each(|(shard, bytes)| writer.entry(*shard, bytes).expect("written"));
    assert_eq!(writer.keys_written(), entries.len() as u64);
    let finished = writer.finish(&cuts(), 123_456, 0).expect("finished");
    assert_eq!(finished.keys, entries.len() as u64);
    finished.publish().expect("published")
}

fn load(disk: &dyn Disk, name: &str, threads: usize) -> Result<Store, SnapshotError> {
    let reader = SnapshotReader::open(disk, name)?;
    let (store, progress) = (Store::new(99), AtomicU64::new(0));
    reader.load(&store, threads, &progress).inspect_err(|_| {
        assert!(entries(&store).is_empty(), "half a snapshot was left in the store");
    })?;
    Ok(store)
}

#[test]
fn stores_come_back() {
    let home = tempfile::tempdir().expect("a directory");
    let real: Arc<dyn Disk> = Arc::new(Directory::open(home.path()).expect("opened"));
    let memory: Arc<dyn Disk> = Arc::new(Memory::default());
    for (disk, keys, large, compress, threads) in [
        (&memory, 0, false, false, 1),
        (&memory, 1, false, true, 4),
        (&memory, 4000, false, true, 3),
        (&real, 3000, true, false, 2),
        (&real, 3000, true, true, 2),
    ] {
        let store = random_store(keys + u64::from(compress), keys, large);
        let name = save(disk, &store, meta(5, compress));
        let reader = SnapshotReader::open(&**disk, &name).expect("opened");
        let info = reader.info();
        assert_eq!((info.database_id, info.snapshot_id, info.generation), (77, 5, 3));
        assert_eq!((*info.cuts, info.largest_cut, info.smallest_cut()), (cuts(), 1511, 1000));
        assert_eq!((info.clock_ms, names::parse(&name)), (123_456, Some(1511)));
        let progress = AtomicU64::new(0);
        reader.verify(threads, &progress).expect("whole");
        assert!(progress.into_inner() <= info.file_bytes);
        let loaded = load(&**disk, &name, threads).expect("loaded");
        assert!(entries(&loaded) == entries(&store), "another store came back");
        assert_eq!(loaded.lock_one(17).clock(), 123_456);
        let mut visited = Vec::new();
        let mut note = |shard: u16, entry: crate::store::DecodedEntry<'_>| {
            visited.push((shard, entry.db, entry.key.to_vec()));
        };
        reader.entries(&mut note).expect("visited");
        assert_eq!(visited.len() as u64, info.keys);
        assert!(visited.is_sorted_by_key(|(shard, ..)| *shard));
    }
}

/// A snapshot of a few keys, and its bytes.
fn small() -> (Store, String, Vec<u8>) {
    let store = random_store(11, 6, false);
    let memory = Memory::default();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let mut writer = SnapshotWriter::create(disk, names::TEMPORARY, meta(5, true)).expect("begun");
    writer.store(&store).expect("written");
    let name = writer.finish(&cuts(), 9, 0).and_then(Finished::publish).expect("published");
    let bytes = memory.bytes(&name).lock().expect("the file").clone();
    (store, name, bytes)
}

#[test]
fn no_truncated_file_is_a_snapshot() {
    let (_, name, bytes) = small();
    let mut rng = SplitMix64::new(3);
    let blocks = (0..bytes.len()).step_by(DISK_ALIGN);
    for cut in blocks.chain((0..300).map(|_| rng.below(bytes.len() as u64) as usize)) {
        let disk = Memory::holding(&name, bytes[..cut].to_vec());
        assert!(matches!(load(&disk, &name, 1), Err(SnapshotError::Unfinished { .. })), "{cut}");
        let mut longer = bytes.clone();
        longer.resize(bytes.len() + cut.max(1), 0);
        assert!(load(&Memory::holding(&name, longer), &name, 1).is_err(), "{cut} bytes more");
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let (store, name, bytes) = small();
    assert!(bytes.len() < 100_000, "{} bytes", bytes.len());
    let disk = Memory::holding(&name, bytes);
    let file = disk.bytes(&name);
    let flip = |bit: usize| file.lock().expect("the file")[bit / 8] ^= 1 << (bit % 8);
    let bits = file.lock().expect("the file").len() * 8;
    // All bits of heads; elsewhere one of each byte.
    for bit in 0..bits {
        let is_in_head = (bit / 8) % DISK_ALIGN < 64;
        if !is_in_head && bit % 8 != (bit / 8 * 5) % 8 {
            continue;
        }
        flip(bit);
        let found = SnapshotReader::open(&disk, &name)
            .and_then(|reader| reader.verify(1, &AtomicU64::new(0)));
        assert!(found.is_err(), "bit {bit}");
        flip(bit);
    }
    assert!(entries(&load(&disk, &name, 1).expect("whole again")) == entries(&store));
}

/// Loads `bytes` and answers the complaint.
fn complaint(name: &str, bytes: &[u8]) -> String {
    match load(&Memory::holding(name, bytes.to_vec()), name, 2) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was loaded"),
    }
}

#[test]
fn blocks_of_an_older_snapshot_or_of_another_place_do_not_pass() {
    let store = random_store(12, 40, false);
    let memory = Memory::default();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let name = save(&disk, &store, meta(1, false));
    let old = memory.bytes(&name).lock().expect("the file").clone();
    assert_eq!(save(&disk, &store, meta(2, false)), name);
    let new = memory.bytes(&name).lock().expect("the file").clone();
    assert_eq!(old.len(), new.len());
    for start in (DISK_ALIGN..new.len() - 2 * DISK_ALIGN).step_by(DISK_ALIGN) {
        let mut mixed = new.clone();
        mixed[start..start + DISK_ALIGN].copy_from_slice(&old[start..start + DISK_ALIGN]);
        if mixed != new {
            complaint(&name, &mixed);
        }
    }
    let mut stale = new.clone();
    stale[DISK_ALIGN..2 * DISK_ALIGN].copy_from_slice(&old[DISK_ALIGN..2 * DISK_ALIGN]);
    let text = complaint(&name, &stale);
    assert!(text.contains("memory/snapshot-") && text.contains("offset 4096"), "{text}");
    assert!(text.contains("another snapshot"), "{text}");
    let mut moved = new.clone();
    moved.copy_within(DISK_ALIGN..2 * DISK_ALIGN, 2 * DISK_ALIGN);
    assert!(complaint(&name, &moved).contains("another place"));
    let without_footer = &new[..new.len() - 2 * DISK_ALIGN];
    assert!(complaint(&name, without_footer).contains("not a whole snapshot"));
    let mut stale_footer = new.clone();
    let footer = new.len() - 2 * DISK_ALIGN;
    stale_footer[footer..].copy_from_slice(&old[footer..]);
    assert!(complaint(&name, &stale_footer).contains("not a whole snapshot"));
}

#[test]
fn entries_that_are_twice_or_in_a_wrong_place_are_refused() {
    let store = random_store(13, 20, false);
    let all = entries(&store);
    for (what, mistake) in [("twice", 0), ("another shard", 1)] {
        let memory = Memory::default();
        let disk: Arc<dyn Disk> = Arc::new(memory.clone());
        let mut writer = SnapshotWriter::create(disk, "s", meta(1, false)).expect("begun");
        all.iter().for_each(|(shard, bytes)| writer.entry(*shard, bytes).expect("written"));
        let (shard, bytes) = &all[7];
        writer.entry(shard ^ mistake, bytes).expect("written");
        let name = writer.finish(&cuts(), 0, 0).and_then(Finished::publish).expect("published");
        let file = memory.bytes(&name).lock().expect("the file").clone();
        assert!(complaint(&name, &file).contains(what));
    }
}

#[test]
fn parts_of_a_large_entry_may_stand_among_other_shards() {
    let store = Store::new(1);
    let (large, other) = (store.key(b"large"), store.key(b"other"));
    assert_ne!(large.shard(), other.shard());
    let text = vec![b'x'; 2 * SNAPSHOT_BLOCK_BYTES + 5];
    for (key, value) in [(&large, &text[..]), (&other, b"small")] {
        store.lock_one(key.shard()).put(0, key, Value::Str(value), None);
    }
    let all = entries(&store);
    let entry = |shard: u16| &all.iter().find(|(s, _)| *s == shard).expect("there").1[..];
    let memory = Memory::default();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let mut writer = SnapshotWriter::create(Arc::clone(&disk), "s", meta(1, true)).expect("begun");
    let (pieces, rest) = entry(large.shard()).as_chunks::<100_000>();
    for piece in pieces {
        writer.part(large.shard(), piece, false).expect("written");
    }
    writer.entry(other.shard(), entry(other.shard())).expect("written");
    writer.part(large.shard(), rest, true).expect("written");
    let name = writer.finish(&cuts(), 0, 0).and_then(Finished::publish).expect("published");
    assert!(entries(&load(&*disk, &name, 2).expect("loaded")) == all);
}

#[test]
fn a_snapshot_gets_its_name_when_it_is_durable() {
    let memory = Memory::default();
    let name = save(&(Arc::new(memory.clone()) as Arc<dyn Disk>), &Store::new(1), meta(1, false));
    let log = memory.log.lock().expect("the log").clone();
    let rename = format!("rename snapshot.tmp {name}");
    assert_eq!(log, ["write", "write", "write", "sync file", &rename, "sync directory"]);
    assert_eq!(memory.names(), [name]);
}

#[test]
fn what_was_not_published_leaves_nothing() {
    let store = random_store(14, 200, false);
    let all = entries(&store);
    for full_after in 1.. {
        let memory = Memory::default();
        memory.full_after.store(full_after, Relaxed);
        let disk: Arc<dyn Disk> = Arc::new(memory.clone());
        let begun = SnapshotWriter::create(disk, names::TEMPORARY, meta(1, false));
        let finished = begun.and_then(|mut writer| {
            all.iter().try_for_each(|(shard, bytes)| writer.entry(*shard, bytes))?;
            writer.finish(&cuts(), 0, 0)
        });
        let is_whole = finished.is_ok();
        drop(finished);
        assert_eq!(memory.names(), Vec::<String>::new(), "full after {full_after} writes");
        if is_whole {
            break;
        }
    }
    // What an earlier process left behind is no obstacle.
    let memory = Memory::holding(names::TEMPORARY, vec![1; 9000]);
    save(&(Arc::new(memory.clone()) as Arc<dyn Disk>), &store, meta(1, false));
    assert_eq!(memory.names().len(), 1);
}
