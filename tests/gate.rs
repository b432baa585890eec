//! What a client is told, and what the disk holds at that moment: a server inside the test, over a
//! disk in memory whose writes take a while.

mod common;

use common::disk::{MemoryDisk, Step};
use common::inside::{Inside, SEGMENT};
use common::value::Value;
use common::wire::{Client, encode};
use dse::commands::saving;
use dse::snapshot::{SnapshotReader, names};
use dse::sys::disk::Disk;
use dse::wal::record::take_command;
use dse::wal::{LogReader, SyncMode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// How long a durable write of the slow disk takes.
const WRITE_US: u64 = 400;
/// How long one takes on a disk that stalls.
const STALL_US: u64 = 300_000;
/// Requests that a reader sends at once.
const READS: usize = 16;

/// The number of a value, and how far the log was durable when somebody knew the value.
type Sight = (u64, u64);

fn number(value: &Value) -> Option<u64> {
    std::str::from_utf8(value.text()?).ok()?.parse().ok()
}

/// Reads one key again and again by `command`; every number seen, with the durable position
/// right after.
fn watch(server: &Inside, command: &[&str], ended: &AtomicBool) -> Vec<Sight> {
    let mut client = Client::connect(server.address).expect("connected");
    let bytes = encode(command).repeat(READS);
    let (mut sights, mut last) = (Vec::new(), None);
    while !ended.load(SeqCst) {
        client.send(&bytes);
        for _ in 0..READS {
            let reply = client.read().expect("a reply");
            let durable = server.log.durable();
            let value = reply.elements().map_or(Some(&reply), |items| items.last());
            let seen = value.and_then(number);
            if seen != last {
                sights.extend(seen.map(|seen| (seen, durable)));
                last = seen;
            }
        }
    }
    sights
}

/// Sets the key to one number after the other, each when the one before is acknowledged; every
/// number, with the durable position right after its reply.
fn count_up(server: &Inside, for_ms: u64) -> Vec<Sight> {
    let mut client = Client::connect(server.address).expect("connected");
    let until = Instant::now() + Duration::from_millis(for_ms);
    let mut sights = Vec::new();
    for number in 0.. {
        let reply = client.call(&["SET", "k", &number.to_string()]).expect("a reply");
        assert_eq!(reply, Value::Simple(b"OK".into()));
        sights.push((number, server.log.durable()));
        if Instant::now() > until {
            break;
        }
    }
    sights
}

/// Where the record of each number ends, or something behind its beginning at least.
fn records(disk: &dyn Disk) -> BTreeMap<u64, u64> {
    let mut reader = LogReader::open(disk, SEGMENT, 4096).expect("there");
    let mut found = BTreeMap::new();
    while let Some(chunk) = reader.next_chunk().expect("readable") {
        for record in chunk.records() {
            let (mut body, mut args) = (record.body, Vec::new());
            take_command(&mut body, &mut args).expect("whole");
            let number = std::str::from_utf8(args[2]).ok().and_then(|text| text.parse().ok());
            found.insert(number.expect("a number"), record.lsn + record.body.len() as u64);
        }
    }
    found
}

/// Numbers that somebody knew before they were durable.
fn too_early(sights: &[Sight], records: &BTreeMap<u64, u64>) -> Vec<u64> {
    let is_early = |(number, durable): &&Sight| records.get(number).is_none_or(|lsn| lsn > durable);
    sights.iter().filter(is_early).map(|(number, _)| *number).collect()
}

/// Runs a writer, and a reader with `command`, beside each other; what their replies told too
/// early, and how many numbers the reader saw.
fn tell(command: &[&str]) -> (Vec<u64>, Vec<u64>, usize) {
    let memory = MemoryDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let server = Inside::start(&disk, SyncMode::Always);
    memory.faults.delay_us.store(WRITE_US, SeqCst);
    let ended = AtomicBool::new(false);
    let (written, seen) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| watch(&server, command, &ended));
        let written = count_up(&server, 2500);
        ended.store(true, SeqCst);
        (written, reader.join().expect("it reads"))
    });
    memory.faults.delay_us.store(0, SeqCst);
    drop(server);
    let records = records(&*disk);
    (too_early(&written, &records), too_early(&seen, &records), seen.len())
}

#[test]
fn nobody_is_told_of_a_write_before_it_is_durable() {
    for command in [&["GET", "k"][..], &["MGET", "other", "k"]] {
        let (written, seen, count) = tell(command);
        assert_eq!(written, [0; 0], "acknowledged too early, beside {command:?}");
        assert_eq!(seen, [0; 0], "seen too early by {command:?}");
        assert!(count > 50, "{command:?} saw hardly anything: {count}");
    }
}

/// What waits for the disk is the reply of the write, and who has seen it. All workers go on, also
/// the one that has the connection of the writer.
#[test]
fn a_disk_that_stalls_holds_replies_of_writes_and_nothing_else() {
    let memory = MemoryDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let server = Inside::start(&disk, SyncMode::Always);
    let client = || Client::connect(server.address).expect("connected");
    // In turns they go to all workers.
    let mut readers: Vec<Client> = (0..8).map(|_| client()).collect();
    let mut writer = client();
    for reader in &mut readers {
        assert_eq!(
            reader.call(&["SET", "there", "1"]).expect("a reply"),
            Value::Simple("OK".into())
        );
    }
    memory.faults.delay_us.store(STALL_US, SeqCst);
    let is_answered = AtomicBool::new(false);
    let (reads, durable) = std::thread::scope(|scope| {
        let before = server.log.end();
        let waiter = scope.spawn(|| {
            let reply = writer.call(&["SET", "k", "1"]);
            let durable = server.log.durable();
            is_answered.store(true, SeqCst);
            (reply.expect("a reply"), durable)
        });
        while server.log.end() == before {
            std::thread::yield_now();
        }
        let mut rounds = 0;
        while !is_answered.load(SeqCst) {
            for reader in &mut readers {
                assert_eq!(reader.call(&["GET", "there"]).expect("a reply"), Value::bulk("1"));
            }
            // Rounds that were over while the write was held are what counts.
            rounds += usize::from(!is_answered.load(SeqCst));
        }
        let (reply, durable) = waiter.join().expect("it waits");
        assert_eq!(reply, Value::Simple(b"OK".into()));
        (rounds, durable > before)
    });
    memory.faults.delay_us.store(0, SeqCst);
    assert!(durable, "the write was answered before the disk had it");
    assert!(reads > 10, "reads of what is durable waited for the disk: {reads} rounds");
}

/// The order in which the disk saw what a snapshot consists of.
#[derive(Default)]
struct Order {
    names: BTreeMap<String, u64>,
    /// Writes that no sync has covered: file and offset.
    open: Vec<(u64, u64)>,
    /// What was open when the snapshot got its name: a file's name and an offset.
    open_at_publication: Option<Vec<(String, u64)>>,
    names_are_durable: bool,
}

impl Order {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Write { file, offset, .. } => self.open.push((*file, *offset)),
            Step::Sync { file } => self.open.retain(|(owner, _)| owner != file),
            Step::SyncRange { file, offset, len } => {
                let within = offset..&(offset + len);
                self.open.retain(|(owner, at)| owner != file || !within.contains(&at));
            }
            Step::Names(names) => {
                self.names = names.clone();
                self.names_are_durable = false;
                if self.open_at_publication.is_none() && self.snapshot().is_some() {
                    let name_of = |id| names.iter().find(|(_, other)| **other == id);
                    let open = self.open.iter().filter_map(|(file, at)| {
                        name_of(*file).map(|(name, _)| (name.clone(), *at))
                    });
                    self.open_at_publication = Some(open.collect());
                }
            }
            Step::SyncNames => self.names_are_durable = true,
        }
    }

    fn snapshot(&self) -> Option<&String> {
        self.names.keys().find(|name| names::parse(name).is_some())
    }
}

#[test]
fn a_snapshot_gets_its_name_when_it_and_the_log_up_to_its_cuts_are_durable() {
    let memory = MemoryDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    // Nobody asks for a sync of the log but the snapshot.
    let server = Inside::start(&disk, SyncMode::Never);
    let mut client = Client::connect(server.address).expect("connected");
    for number in 0..300 {
        let key = format!("k{number}");
        assert!(client.call(&["SET", &key, &"v".repeat(500)]).is_ok());
    }
    *server.hub.service.shutdown.save.lock().expect("whole") = Some(true);
    saving::run_last(&server.hub, &|| Ok(Arc::clone(&disk)));
    let mut order = Order::default();
    memory.steps().iter().for_each(|step| order.step(step));
    let name = order.snapshot().expect("there is a snapshot");
    assert!(order.names_are_durable, "the snapshot's name is not durable");
    let cut = SnapshotReader::open(&*disk, name).expect("whole").info().largest_cut;
    let open = order.open_at_publication.expect("it was published");
    let is_needed = |(file, at): &&(String, u64)| match names_start(file) {
        Some(start) => start + at < cut,
        None => names::parse(file).is_some(),
    };
    let missing: Vec<_> = open.iter().filter(is_needed).collect();
    assert!(missing.is_empty(), "not durable when the snapshot got its name: {missing:?}");
}

/// The first position in a file of the log.
fn names_start(file: &str) -> Option<u64> {
    dse::wal::names::LogName::parse(file).map(|name| name.start)
}
