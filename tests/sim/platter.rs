//! A disk in memory, block by block: what was not synced may be lost, torn or there, names too; it
//! can refuse to write (EIO), and to take more (ENOSPC).

use dse::sys::disk::{Disk, DiskFile, OpenMode};
use dse::util::rng::SplitMix64;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

const BLOCK: usize = 4096;
/// What reaches the disk as a whole, or not at all.
const SECTOR: usize = 512;

type Block = [u8; BLOCK];
type Names = BTreeMap<String, u64>;

#[derive(Default)]
struct Contents {
    len: u64,
    durable_len: u64,
    /// Blocks that are not zero.
    blocks: BTreeMap<u64, Box<Block>>,
    /// Writes that are not durable, in order.
    waiting: Vec<(u64, Box<Block>)>,
}

#[derive(Default)]
struct State {
    names: Names,
    /// The names that there were since the directory was synced last, the oldest first.
    past: Vec<Names>,
    files: BTreeMap<u64, Contents>,
    next: u64,
    fails: u32,
    is_full: bool,
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub struct Platter(Arc<Mutex<State>>);

impl Platter {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with the lock")
    }

    /// So many writes from now on fail.
    pub fn fail(&self, writes: u32) {
        self.lock().fails = writes;
    }

    /// No file can grow any more, or again.
    pub fn fill(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// All that was written is durable.
    pub fn settle(&self) {
        self.lock().files.values_mut().for_each(Contents::settle);
    }

    pub fn flip(&self, name: &str, offset: u64, bit: u64) {
        let mut state = self.lock();
        let Some(id) = state.names.get(name).copied() else { return };
        let contents = state.files.get_mut(&id).expect("a file with a name");
        let (number, at) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
        let block = contents.blocks.entry(number).or_insert_with(|| Box::new([0; BLOCK]));
        block[at] ^= 1 << bit;
    }

    /// The power goes: of names and blocks that were not synced some are there.
    pub fn crash(&self, rng: &mut SplitMix64) {
        let mut state = self.lock();
        let moments = state.past.len() as u64 + 1;
        if let Some(names) = state.past.get(rng.below(moments) as usize) {
            state.names = names.clone();
        }
        state.past.clear();
        let luck = rng.below(3);
        for contents in state.files.values_mut() {
            contents.crash(luck, rng);
        }
        state.forget();
    }
}

impl State {
    /// Files without a name, now or before, are gone.
    fn forget(&mut self) {
        let State { names, past, files, .. } = self;
        let is_named = |id: &u64| {
            past.iter().chain([&*names]).any(|names| names.values().any(|named| named == id))
        };
        files.retain(|id, _| is_named(id));
    }

    fn rename(&mut self, change: impl FnOnce(&mut Names) -> io::Result<()>) -> io::Result<()> {
        let before = self.names.clone();
        change(&mut self.names)?;
        self.past.push(before);
        Ok(())
    }
}

impl Contents {
    fn settle(&mut self) {
        self.durable_len = self.len;
        for (number, block) in self.waiting.drain(..) {
            put(&mut self.blocks, number, block);
        }
    }

    fn crash(&mut self, luck: u64, rng: &mut SplitMix64) {
        for (number, block) in std::mem::take(&mut self.waiting) {
            let is_there = luck == 0 || luck == 1 && rng.below(2) == 0;
            let sectors = match rng.below(8) {
                0 => rng.below((BLOCK / SECTOR) as u64) as usize,
                _ if is_there => BLOCK / SECTOR,
                _ => 0,
            };
            if sectors > 0 {
                let mut torn = self.blocks.remove(&number).unwrap_or_else(|| Box::new([0; BLOCK]));
                torn[..sectors * SECTOR].copy_from_slice(&block[..sectors * SECTOR]);
                put(&mut self.blocks, number, torn);
            }
        }
        self.len = self.durable_len;
    }

    fn block(&self, number: u64) -> Option<&Block> {
        let waiting = self.waiting.iter().rev().find(|(at, _)| *at == number);
        waiting
            .map(|(_, block)| &**block)
            .or_else(|| self.blocks.get(&number).map(|block| &**block))
    }
}

fn put(blocks: &mut BTreeMap<u64, Box<Block>>, number: u64, block: Box<Block>) {
    if is_zero(&block) {
        blocks.remove(&number);
    } else {
        blocks.insert(number, block);
    }
}

fn is_zero(block: &Block) -> bool {
    block.as_chunks::<8>().0.iter().all(|word| *word == [0; 8])
}

struct File {
    id: u64,
    platter: Platter,
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(bytes.len().is_multiple_of(BLOCK) && offset.is_multiple_of(BLOCK as u64));
        let mut state = self.platter.lock();
        if state.fails > 0 {
            state.fails -= 1;
            return Err(io::Error::from_raw_os_error(5));
        }
        let is_full = state.is_full;
        let Some(contents) = state.files.get_mut(&self.id) else { return Ok(()) };
        let end = offset + bytes.len() as u64;
        if is_full && end > contents.len {
            return Err(io::Error::from_raw_os_error(28));
        }
        contents.len = contents.len.max(end);
        for (at, block) in bytes.as_chunks::<BLOCK>().0.iter().enumerate() {
            let number = offset / BLOCK as u64 + at as u64;
            if !is_zero(block) || contents.block(number).is_some() {
                contents.waiting.push((number, Box::new(*block)));
            }
        }
        Ok(())
    }

    /// Durable when the simulation says so.
    fn write_through_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.platter.lock();
        let Some(contents) = state.files.get(&self.id) else { return Ok(0) };
        let len = (bytes.len() as u64).min(contents.len.saturating_sub(offset)) as usize;
        let mut at = 0;
        while at < len {
            let place = offset + at as u64;
            let within = (place % BLOCK as u64) as usize;
            let piece = (BLOCK - within).min(len - at);
            match contents.block(place / BLOCK as u64) {
                Some(block) => {
                    bytes[at..at + piece].copy_from_slice(&block[within..within + piece]);
                }
                None => bytes[at..at + piece].fill(0),
            }
            at += piece;
        }
        Ok(len)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.platter.lock();
        if let Some(contents) = state.files.get_mut(&self.id) {
            contents.settle();
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.platter.lock().files.get(&self.id).map_or(0, |contents| contents.len))
    }
}

impl Disk for Platter {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        let id = match (state.names.get(name).copied(), mode) {
            (Some(_), OpenMode::Create) => return Err(io::Error::from_raw_os_error(17)),
            (Some(id), _) => id,
            (None, OpenMode::Create) => {
                let id = state.next;
                state.next += 1;
                state.files.insert(id, Contents::default());
                let name = name.to_string();
                state.rename(|names| {
                    names.insert(name, id);
                    Ok(())
                })?;
                id
            }
            (None, _) => return Err(io::Error::from_raw_os_error(2)),
        };
        drop(state);
        Ok(Box::new(File { id, platter: self.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.lock().rename(|names| {
            let id = names.remove(from).ok_or_else(|| io::Error::from_raw_os_error(2))?;
            names.insert(to.to_string(), id);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().rename(|names| {
            names.remove(name).map(drop).ok_or_else(|| io::Error::from_raw_os_error(2))
        })
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let state = self.lock();
        let size = |id: &u64| state.files[id].len;
        Ok(state.names.iter().map(|(name, id)| (name.clone(), size(id))).collect())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.past.clear();
        state.forget();
        Ok(())
    }

    fn location(&self) -> String {
        "a simulated disk".into()
    }
}
