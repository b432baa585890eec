//! Hostile snapshot files never do harm. Checksums are mended first, so that what lies behind
//! them is reached.
//!
//! The input is a list of changes to a snapshot that was written in order: pairs of a place and a
//! byte, and at the end how much of the file is kept.

#![no_main]

use dse::limits::SHARDS;
use dse::snapshot::{SnapshotMeta, SnapshotReader, SnapshotWriter};
use dse::store::{Object, Store, Value, encode_entry, objects::List};
use dse::sys::disk::{Disk, DiskFile, OpenMode};
use libfuzzer_sys::fuzz_target;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

const ALIGN: usize = 4096;

/// A disk with one file.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl DiskFile for Memory {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut file = self.0.lock().unwrap();
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
        let file = self.0.lock().unwrap();
        let rest = file.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
}

impl Disk for Memory {
    fn open(&self, _: &str, _: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.clone()))
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(Vec::new())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn location(&self) -> String {
        String::new()
    }
}

/// A snapshot of a few keys.
fn sample() -> Vec<u8> {
    let (disk, store) = (Memory::default(), Store::new(1));
    let mut list = List::new();
    list.push_back(b"element");
    let values = [Value::Str(b"value"), Value::Object(Object::List(list)), Value::Raw(&[b"12"])];
    let meta = SnapshotMeta { database_id: 1, snapshot_id: 2, generation: 3, compress: true };
    let mut writer = SnapshotWriter::create(Arc::new(disk.clone()), "s", meta).unwrap();
    for (name, value) in [&b"a"[..], b"b", b"c"].into_iter().zip(values) {
        let key = store.key(name);
        let shard = key.shard();
        store.lock_one(shard).put(0, &key, value, Some(9));
        store.scan(0, 0, 100, &mut |entry, object| {
            let mut bytes = Vec::new();
            encode_entry(0, entry, object, &mut bytes);
            if entry.key() == name {
                writer.entry(shard, &bytes).unwrap();
            }
        });
    }
    drop(writer.finish(&[7; SHARDS], 8, 0).unwrap());
    let bytes = disk.0.lock().unwrap().clone();
    bytes
}

/// Makes the checksum of each block that seems to begin somewhere right.
fn mend(file: &mut [u8]) {
    for start in (0..file.len()).step_by(ALIGN) {
        let block = &mut file[start..];
        if !block.starts_with(b"DSEs") || block.len() < ALIGN {
            continue;
        }
        let stored = u32::from_le_bytes([block[28], block[29], block[30], block[31]]) as usize;
        let len = stored.saturating_add(64).next_multiple_of(ALIGN);
        if len <= block.len() {
            let crc = crc32c::crc32c(&block[8..len]);
            block[4..8].copy_from_slice(&crc.to_le_bytes());
        }
    }
}

fuzz_target!(|data: &[u8]| {
    static SAMPLE: OnceLock<Vec<u8>> = OnceLock::new();
    let mut file = SAMPLE.get_or_init(sample).clone();
    let (changes, rest) = data.as_chunks::<3>();
    for [low, high, byte] in changes {
        let at = usize::from(u16::from_le_bytes([*low, *high]));
        if let Some(place) = file.get_mut(at) {
            *place = *byte;
        }
    }
    if let [cut, _] = rest {
        file.truncate(usize::from(*cut) * ALIGN / 4);
    }
    mend(&mut file);
    let disk = Memory(Arc::new(Mutex::new(file)));
    let Ok(reader) = SnapshotReader::open(&disk, "s") else { return };
    let progress = AtomicU64::new(0);
    let verified = reader.verify(1, &progress);
    let store = Store::new(2);
    let loaded = reader.load(&store, 1, &progress);
    assert!(loaded.is_err() || verified.is_ok());
    if loaded.is_err() {
        assert!((0..16).all(|db| store.is_empty(db)), "half a snapshot was left");
    }
});
