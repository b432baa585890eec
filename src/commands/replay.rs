//! Records of the log become changes again.
//!
//! Each command runs through the very function that a client's request runs through, with the
//! record's clock and seed. Nothing is refused here, nothing expires by another clock, and
//! nothing is written to the log: what was accepted once is applied.
//!
//! Several threads replay beside each other: each sees all records in order and applies those of
//! its shards; for a record of several shards they meet, and one applies it. Records of one command
//! with one key, which most are, go in batches: the processor fetches their buckets from memory
//! beside each other.

use super::dispatch::shards_of;
use super::node::Node;
use super::table::{Command, LOOKUP, Run, TABLE};
use crate::config::Config;
use crate::engine::{Effects, Moment, Tally, Txn, TxnParts, seed_of};
use crate::limits::{BATCH_COMMANDS, SHARDS};
use crate::resp::{Args, OutQueue, OwnedArgs, Protocol, Reply};
use crate::store::{Held, Key, ShardSet};
use crate::sync::reclaim;
use crate::wal::record::{Record, SEMANTICS, take_command, take_command_with};
use crate::wal::{RecordKind, RecordMeta, SEVERAL_SHARDS};
use std::collections::HashMap;
use std::fmt;

/// Up to which position each shard is loaded already, from a snapshot.
pub type Cuts = [u64; SHARDS];

/// Why a record cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayError {
    /// Its position.
    pub lsn: u64,
    /// What is wrong.
    pub why: &'static str,
    /// The command, if it came so far.
    pub command: String,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReplayError { lsn, why, command } = self;
        write!(f, "the record at position {lsn} of the log ({command}) cannot be applied: {why}")
    }
}

impl std::error::Error for ReplayError {}

/// Which records of a log a thread applies.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The thread, from 0.
    pub index: usize,
    /// How many threads there are.
    pub of: usize,
}

/// A record of one command with one key, on its way to the store.
struct Pending {
    lsn: u64,
    meta: RecordMeta,
    command: &'static Command,
    db: u8,
    args: OwnedArgs,
    hash: u64,
    hash_slot: u16,
}

/// One thread's part in a replay.
pub struct Replayer<'n> {
    node: &'n Node,
    cuts: &'n Cuts,
    /// The smallest cut: what lies below is loaded in all shards.
    first: u64,
    config: &'n Config,
    effects: Effects,
    tally: Tally,
    replies: OutQueue,
    /// Bodies that came in fragments.
    bodies: HashMap<u64, Vec<u8>>,
    /// Records that are decoded, and not applied yet.
    pending: Vec<Pending>,
    /// Room for the arguments of pending records.
    spare: Vec<OwnedArgs>,
    /// Records applied.
    pub applied: u64,
}

impl<'n> Replayer<'n> {
    /// A part in the replay on `node` of what lies behind `cuts`. `config` must allow everything.
    pub fn new(node: &'n Node, cuts: &'n Cuts, config: &'n Config) -> Replayer<'n> {
        Replayer {
            node,
            cuts,
            first: cuts.iter().copied().min().unwrap_or(0),
            config,
            effects: Effects::default(),
            tally: Tally::default(),
            replies: OutQueue::default(),
            bodies: HashMap::new(),
            pending: Vec::with_capacity(BATCH_COMMANDS),
            spare: Vec::new(),
            applied: 0,
        }
    }

    /// Whether the record must be seen by all threads together. Otherwise it belongs to its shard.
    pub fn is_common(record: &Record<'_>) -> bool {
        record.meta.shard == SEVERAL_SHARDS || record.meta.kind == RecordKind::Joined
    }

    /// Applies those of `records`, a piece of the log, that belong to this thread. `meet` waits
    /// until all threads call it. Goes on behind an error, so that the others meet nobody in
    /// vain; the first is returned.
    pub fn apply_share<'r>(
        &mut self,
        records: impl Iterator<Item = Record<'r>>,
        share: Share,
        meet: impl Fn(),
    ) -> Result<(), ReplayError> {
        let mut outcome = Ok(());
        for record in records {
            let is_common = Replayer::is_common(&record);
            let owner = if is_common { 0 } else { record.meta.shard as usize };
            if is_common {
                outcome = outcome.and(self.apply_pending());
                meet(); // All before it are applied.
            }
            if owner % share.of == share.index {
                let applied = match is_common {
                    true => self.apply(&record),
                    false => self.apply_soon(&record),
                };
                outcome = outcome.and(applied);
            }
            if is_common {
                meet(); // None behind it is applied before.
            }
        }
        outcome.and(self.apply_pending())
    }

    /// Applies a record of one shard now or with the next of them, in order.
    fn apply_soon(&mut self, record: &Record<'_>) -> Result<(), ReplayError> {
        let mut args = self.spare.pop().unwrap_or_default();
        let single = self.single_key(record, &mut args)?;
        let Some((command, db)) = single else {
            self.apply_pending()?;
            return self.apply(record);
        };
        let (hash, hash_slot) = {
            let key = self.node.engine.store.key(args.as_args().get(command.keys.first as usize));
            self.node.engine.store.locate(&reclaim::pin(), db, &key);
            (key.hash, key.hash_slot)
        };
        let (lsn, meta) = (record.lsn, record.meta);
        self.pending.push(Pending { lsn, meta, command, db, args, hash, hash_slot });
        if self.pending.len() == BATCH_COMMANDS { self.apply_pending() } else { Ok(()) }
    }

    /// The command of a record that holds just one, with one key, and its arguments.
    fn single_key(
        &self,
        record: &Record<'_>,
        args: &mut OwnedArgs,
    ) -> Result<Option<(&'static Command, u8)>, ReplayError> {
        let mut rest = record.body;
        args.clear();
        if record.meta.kind != RecordKind::Commands || record.semantics != SEMANTICS {
            return Ok(None);
        }
        let Ok(db) = take_command_with(&mut rest, |arg| args.push(arg)) else { return Ok(None) };
        if !rest.is_empty() {
            return Ok(None);
        }
        let command = find(record.lsn, args.as_args())?;
        let has_one_key = command.keys.positions(args.as_args().len()).count() == 1;
        Ok((has_one_key && command.keys.first > 0).then_some((command, db)))
    }

    /// Applies what is pending.
    fn apply_pending(&mut self) -> Result<(), ReplayError> {
        let pending = std::mem::take(&mut self.pending);
        let store = &self.node.engine.store;
        {
            let pin = reclaim::pin();
            for one in &pending {
                store.locate(&pin, one.db, &one.key()).approach();
            }
        }
        for one in &pending {
            let key = one.key();
            if one.lsn < self.cuts[key.shard() as usize] {
                continue;
            }
            let mut held = store.lock_one(key.shard());
            held.raise_clock(one.meta.clock_ms);
            let moment = Moment { now_ms: one.meta.clock_ms, seed: seed_of(one.meta.seed, 0) };
            self.run(&mut held, one.command, one.db, moment, one.args.as_args(), Some(key));
            self.applied += 1;
        }
        self.pending = pending;
        self.spare.extend(self.pending.drain(..).map(|one| one.args));
        Ok(())
    }

    /// Applies a record, unless its shards are loaded beyond it.
    pub fn apply(&mut self, record: &Record<'_>) -> Result<(), ReplayError> {
        let fail = |why| ReplayError { lsn: record.lsn, why, command: String::new() };
        if record.semantics != SEMANTICS {
            return Err(fail("it was written by a version that this one does not know"));
        }
        // Not even looked at: of a body that ends here the beginning may be gone.
        let is_loaded = record.lsn < self.first;
        match record.meta.kind {
            RecordKind::Commands if is_loaded => Ok(()),
            RecordKind::Commands => self.apply_body(record, record.body, &[]),
            RecordKind::Fragment => {
                let (number, bytes) =
                    record.body.split_first_chunk().ok_or(fail("it is too short"))?;
                let body = self.bodies.entry(u64::from_le_bytes(*number)).or_default();
                body.extend_from_slice(bytes);
                Ok(())
            }
            RecordKind::Joined => {
                let (number, bits) =
                    record.body.split_first_chunk().ok_or(fail("it is too short"))?;
                let body = self.bodies.remove(&u64::from_le_bytes(*number)).unwrap_or_default();
                if is_loaded {
                    return Ok(());
                }
                self.apply_body(record, &body, bits)
            }
            RecordKind::Dropped => {
                let number = record.body.first_chunk().ok_or(fail("it is too short"))?;
                self.bodies.remove(&u64::from_le_bytes(*number));
                Ok(())
            }
            RecordKind::Groups => {
                Err(fail("the directory is that of a cluster's node: start it with --peers"))
            }
        }
    }

    /// Applies the commands of `body`, of which only those count whose bit is set; no bits: all.
    fn apply_body(
        &mut self,
        record: &Record<'_>,
        body: &[u8],
        bits: &[u8],
    ) -> Result<(), ReplayError> {
        let fail = |why| ReplayError { lsn: record.lsn, why, command: String::new() };
        let applies = |at: usize| {
            bits.is_empty() || bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
        };
        let mut commands: Vec<(&'static Command, u8, OwnedArgs)> = Vec::new();
        let (mut rest, mut args, mut at) = (body, Vec::new(), 0);
        while !rest.is_empty() {
            let db = take_command(&mut rest, &mut args).map_err(|_| fail("it is cut short"))?;
            if applies(at) {
                let owned = args.iter().copied().collect::<OwnedArgs>();
                commands.push((find(record.lsn, owned.as_args())?, db, owned));
            }
            at += 1;
        }
        let mut shards = ShardSet::new();
        for (command, _, args) in &commands {
            shards_of(self.node, command, args.as_args(), &mut shards);
        }
        let Some(cut) = shards.iter().map(|shard| self.cuts[shard as usize]).max() else {
            return Err(fail("it names no key"));
        };
        if record.lsn < cut {
            return Ok(());
        }
        let mut held = self.node.engine.store.lock(&shards);
        held.raise_clock(record.meta.clock_ms);
        for (index, (command, db, args)) in commands.iter().enumerate() {
            let seed = seed_of(record.meta.seed, index as u64);
            let moment = Moment { now_ms: record.meta.clock_ms, seed };
            self.run(&mut held, command, *db, moment, args.as_args(), None);
        }
        self.applied += 1;
        Ok(())
    }

    fn run(
        &mut self,
        held: &mut Held<'_>,
        command: &Command,
        db: u8,
        moment: Moment,
        args: Args<'_>,
        hashed: Option<Key<'_>>,
    ) {
        let Run::Locked(run) = command.run else { return };
        let mut txn = Txn::new(TxnParts {
            held,
            effects: &mut self.effects,
            tally: &self.tally,
            config: self.config,
            db,
            moment,
            hashed: hashed.as_slice(),
            bulk: None,
            journal: None,
        });
        // A command that fails did so the first time, before it changed anything.
        let _ = run(&mut txn, args, &mut Reply::new(&mut self.replies, Protocol::Resp2));
        self.replies.reset();
        self.effects.events.clear();
    }
}

impl Pending {
    fn key(&self) -> Key<'_> {
        let bytes = self.args.as_args().get(self.command.keys.first as usize);
        Key { bytes, hash: self.hash, hash_slot: self.hash_slot }
    }
}

fn find(lsn: u64, args: Args<'_>) -> Result<&'static Command, ReplayError> {
    let fail = |why| {
        let name = if args.len() > 0 { args.get(0) } else { b"" };
        let command = String::from_utf8_lossy(&name[..name.len().min(64)]).into_owned();
        ReplayError { lsn, why, command }
    };
    if args.len() == 0 {
        return Err(fail("it is empty"));
    }
    let row = LOOKUP.find(args.get(0)).ok_or(fail("this version does not know the command"))?;
    let (command, _) = TABLE[row].resolve(args);
    if !command.arity_fits(args.len()) {
        return Err(fail("it has too few or too many arguments"));
    }
    match command.run {
        Run::Locked(_) => Ok(command),
        _ => Err(fail("it is no write")),
    }
}
