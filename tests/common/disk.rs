//! A disk in memory that remembers what was synced and what was not, records the order of
//! things, and fails on demand.

#![allow(dead_code)] // Each test uses a part of it.

use dse::sys::disk::{Disk, DiskFile, OpenMode};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};

pub const BLOCK: usize = 4096;

/// One change of the disk.
#[derive(Clone, Debug)]
pub enum Step {
    /// A file's bytes, not durable yet.
    Write { file: u64, offset: u64, bytes: Vec<u8> },
    /// All writes to the file so far are durable.
    Sync { file: u64 },
    /// What was written to this range is durable; other writes may be under way.
    SyncRange { file: u64, offset: u64, len: u64 },
    /// Names changed, not durable yet.
    Names(BTreeMap<String, u64>),
    /// All names so far are durable.
    SyncNames,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, u64>,
    contents: BTreeMap<u64, Vec<u8>>,
    steps: Vec<Step>,
    next: u64,
}

/// Which calls fail.
#[derive(Default)]
pub struct Faults {
    /// Writes from now on until one fails; negative: none.
    pub write_in: AtomicI64,
    /// Every write fails once one did.
    pub for_good: AtomicBool,
    /// Bytes that files may have in all; 0: no limit.
    pub room: AtomicI64,
    /// How long a durable write is under way, so that others begin meanwhile.
    pub delay_us: AtomicU64,
    /// How long a write to the page cache takes.
    pub cached_delay_us: AtomicU64,
    /// Syncs of files are lies.
    pub skips_syncs: AtomicBool,
    /// Syncs of the directory are lies.
    pub skips_names: AtomicBool,
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
    pub faults: Arc<Faults>,
}

impl MemoryDisk {
    pub fn new() -> MemoryDisk {
        let disk = MemoryDisk::default();
        disk.faults.write_in.store(-1, SeqCst);
        disk
    }

    /// A disk with these names and contents.
    pub fn with(files: BTreeMap<String, Vec<u8>>) -> MemoryDisk {
        let disk = MemoryDisk::new();
        {
            let mut state = disk.lock();
            for (name, bytes) in files {
                let id = state.next;
                state.next += 1;
                state.names.insert(name, id);
                state.contents.insert(id, bytes);
            }
        }
        disk
    }

    /// Names and contents, as a running process sees them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        state.names.iter().map(|(name, id)| (name.clone(), state.contents[id].clone())).collect()
    }

    /// Turns over one bit of a file.
    pub fn flip(&self, name: &str, offset: usize, bit: u64) {
        let mut state = self.lock();
        let id = state.names[name];
        let bytes = state.contents.get_mut(&id).expect("a file with a name");
        bytes[offset] ^= 1 << bit;
    }

    /// Everything that happened, in order.
    pub fn steps(&self) -> Vec<Step> {
        self.lock().steps.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the lock")
    }
}

struct MemoryFile {
    id: u64,
    disk: MemoryDisk,
}

impl MemoryFile {
    fn synced(&self, step: Step) {
        if !self.disk.faults.skips_syncs.load(SeqCst) {
            self.disk.lock().steps.push(step);
        }
    }
}

impl DiskFile for MemoryFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(bytes.len().is_multiple_of(BLOCK) && offset.is_multiple_of(BLOCK as u64));
        let faults = &self.disk.faults;
        let left = faults.write_in.load(SeqCst);
        if left >= 0 {
            let fails = left == 0;
            let next = if fails && faults.for_good.load(SeqCst) { 0 } else { left - 1 };
            faults.write_in.store(next, SeqCst);
            if fails {
                return Err(io::Error::from_raw_os_error(5));
            }
        }
        let mut state = self.disk.lock();
        let end = offset as usize + bytes.len();
        let total: usize = state.contents.values().map(Vec::len).sum();
        let file = state.contents.get_mut(&self.id).expect("an open file");
        let room = faults.room.load(SeqCst);
        if room > 0 && end > file.len() && (total + end - file.len()) as i64 > room {
            return Err(io::Error::from_raw_os_error(28));
        }
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset as usize..end].copy_from_slice(bytes);
        state.steps.push(Step::Write { file: self.id, offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn write_cached_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let delay_us = self.disk.faults.cached_delay_us.load(SeqCst);
        std::thread::sleep(std::time::Duration::from_micros(delay_us));
        self.write_at(bytes, offset)
    }

    fn write_through_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)?;
        let delay_us = self.disk.faults.delay_us.load(SeqCst);
        std::thread::sleep(std::time::Duration::from_micros(delay_us));
        let (file, len) = (self.id, bytes.len() as u64);
        self.synced(Step::SyncRange { file, offset, len });
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        let file = &state.contents[&self.id];
        let from = (offset as usize).min(file.len());
        let len = bytes.len().min(file.len() - from);
        bytes[..len].copy_from_slice(&file[from..from + len]);
        Ok(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.synced(Step::Sync { file: self.id });
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().contents[&self.id].len() as u64)
    }
}

impl Disk for MemoryDisk {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        let id = match (state.names.get(name).copied(), mode) {
            (Some(_), OpenMode::Create) => return Err(io::Error::from_raw_os_error(17)),
            (Some(id), _) => id,
            (None, OpenMode::Create) => {
                let id = state.next;
                state.next += 1;
                state.names.insert(name.to_string(), id);
                state.contents.insert(id, Vec::new());
                let names = state.names.clone();
                state.steps.push(Step::Names(names));
                id
            }
            (None, _) => return Err(io::Error::from_raw_os_error(2)),
        };
        drop(state);
        Ok(Box::new(MemoryFile { id, disk: self.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let id = state.names.remove(from).ok_or_else(|| io::Error::from_raw_os_error(2))?;
        state.names.insert(to.to_string(), id);
        let names = state.names.clone();
        state.steps.push(Step::Names(names));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        let id = state.names.remove(name).ok_or_else(|| io::Error::from_raw_os_error(2))?;
        state.contents.insert(id, Vec::new());
        let names = state.names.clone();
        state.steps.push(Step::Names(names));
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let state = self.lock();
        let size = |id: &u64| state.contents[id].len() as u64;
        Ok(state.names.iter().map(|(name, id)| (name.clone(), size(id))).collect())
    }

    fn sync(&self) -> io::Result<()> {
        if !self.faults.skips_names.load(SeqCst) {
            self.lock().steps.push(Step::SyncNames);
        }
        Ok(())
    }

    fn location(&self) -> String {
        "memory".into()
    }
}
