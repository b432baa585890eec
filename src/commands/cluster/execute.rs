//! What the log of a group does to the keyspace here, and what is read of it.
//!
//! Applying is a function of the state and the entry alone (C16): clock and seed come from the
//! entry's log time and place, the function that runs is the one that runs everywhere else. Nothing
//! is refused here for a local reason; a command that this version does not know, or that is no
//! command of a cluster, is answered with an error on every node alike.

use super::request::{self, Request, Watched};
use super::serve::not_there;
use crate::commands::dispatch::shards_of;
use crate::commands::node::{Node, random_seed};
use crate::commands::table::{Command, LOOKUP, Run, TABLE, flags};
use crate::config::Config;
use crate::engine::{CmdError, Effects, Moment, Read, ReadParts, Tally, Txn, TxnParts, seed_of};
use crate::limits::{CLUSTER_GROUPS, HASH_SLOTS, SHARDS};
use crate::resp::{Args, OutQueue, OwnedArgs, Protocol, Reply};
use crate::store::{DecodedEntry, Held, Key, Pin, ShardSet, encode_entry};
use crate::sync::reclaim;
use crate::util::crc16::hash_slot;
use crate::util::wire::{Source, put_string, put_varint};

const SHARDS_PER_GROUP: u16 = (SHARDS / CLUSTER_GROUPS) as u16;
/// Hash slots of a group.
pub const SLOTS_PER_GROUP: u16 = (HASH_SLOTS / CLUSTER_GROUPS) as u16;
const STATE_VERSION: u8 = 1;

/// Where an entry stands, which gives its requests clock and chance.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The group.
    pub group: u16,
    /// The index of the entry.
    pub index: u64,
    /// Its log time, ms.
    pub time_ms: u64,
    /// Which request of the entry it is.
    pub number: u64,
}

/// Applies and reads for the driver, on its thread.
pub struct Executor<'n> {
    node: &'n Node,
    /// What is refused must not depend on what one node is set to.
    config: Config,
    effects: Effects,
    tally: Tally,
    /// The last index that wrote each slot (C20). A part of the state of its group.
    written: Box<[u64]>,
}

/// A state of a group that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadState;

impl<'n> Executor<'n> {
    /// An executor of the keyspace of `node`, which nobody else may change.
    pub fn new(node: &'n Node) -> Executor<'n> {
        let written = vec![0; HASH_SLOTS].into();
        let config = Config::permissive();
        Executor { node, config, effects: Effects::default(), tally: Tally::default(), written }
    }

    /// Applies a request. Returns the reply if somebody waits for it in that protocol.
    pub fn apply(&mut self, at: At, bytes: &[u8], wanted: Option<Protocol>) -> Option<Vec<u8>> {
        let mut out = OutQueue::default();
        let mut reply = Reply::new(&mut out, wanted.unwrap_or(Protocol::Resp2));
        match request::read(bytes) {
            Some(request) => self.apply_request(at, &request, &mut reply),
            None => reply.error("ERR this request cannot be read"),
        }
        wanted.map(|_| flatten(&mut out))
    }

    fn apply_request(&mut self, at: At, request: &Request<'_>, reply: &mut Reply<'_>) {
        let commands: Vec<_> = request.commands.iter().map(|args| Prepared::new(args)).collect();
        let mut shards = ShardSet::new();
        for one in commands.iter().filter_map(|one| one.as_ref().ok()) {
            self.shards_of(at.group, one, &mut shards);
        }
        if shards.is_empty() {
            return reply.error("ERR this request names no key");
        }
        if shards.iter().any(|shard| shard / SHARDS_PER_GROUP != at.group) {
            return reply.error("ERR this request is of another group");
        }
        let is_void = |seen: &Watched| {
            let has_ended = seen.deadline_ms > 0 && at.time_ms >= seen.deadline_ms;
            has_ended || self.last_write(seen.slot) > seen.index
        };
        if request.watched.iter().any(is_void) {
            return reply.nil_array();
        }
        let mut held = self.node.engine.store.lock(&shards);
        held.raise_clock(at.time_ms);
        if request.is_transaction || shards.len() > 1 {
            held.begin_exclusive();
        }
        if request.is_transaction {
            reply.array(commands.len());
        }
        let seed = seed_of(at.index ^ u64::from(at.group) << 48, at.number);
        for (number, one) in commands.iter().enumerate() {
            let moment = Moment { now_ms: at.time_ms, seed: seed_of(seed, number as u64) };
            let outcome = match one {
                Ok(one) => self.run(&mut held, moment, one, reply),
                Err(error) => Err(error.clone()),
            };
            if let Err(error) = outcome {
                error.write_to(reply);
            }
        }
        drop(held);
        self.effects.events.clear();
        self.effects.dirty = 0;
        self.note_written(at, &commands);
    }

    fn shards_of(&self, group: u16, one: &Prepared, shards: &mut ShardSet) {
        if one.command.is(flags::ALL_SHARDS) {
            (group * SHARDS_PER_GROUP..(group + 1) * SHARDS_PER_GROUP)
                .for_each(|shard| shards.insert(shard));
        } else {
            shards_of(self.node, one.command, one.args.as_args(), shards);
        }
    }

    fn run(
        &mut self,
        held: &mut Held<'_>,
        moment: Moment,
        one: &Prepared,
        reply: &mut Reply<'_>,
    ) -> Result<(), CmdError> {
        let args = one.args.as_args();
        match one.command.run {
            Run::Locked(run) => {
                let mut txn = Txn::new(TxnParts {
                    held,
                    effects: &mut self.effects,
                    tally: &self.tally,
                    config: &self.config,
                    db: 0,
                    moment,
                    hashed: &[],
                    bulk: None,
                    journal: None,
                });
                run(&mut txn, args, reply)
            }
            Run::Read(run) => {
                let pin = reclaim::pin();
                run(&self.reader(&pin, Some(held), moment.now_ms), args, reply)
            }
            _ => Err(not_of_a_cluster()),
        }
    }

    fn reader<'a>(&'a self, pin: &'a Pin, held: Option<&'a Held<'a>>, now_ms: u64) -> Read<'a> {
        Read::new(ReadParts {
            store: &self.node.engine.store,
            pin,
            held,
            tally: &self.tally,
            config: &self.node.config,
            db: 0,
            now_ms,
            marks: true,
            hot: &self.node.hot,
        })
    }

    fn note_written(&mut self, at: At, commands: &[Result<Prepared, CmdError>]) {
        for one in commands.iter().filter_map(|one| one.as_ref().ok()) {
            if one.command.is(flags::ALL_SHARDS) {
                let first = usize::from(at.group * SLOTS_PER_GROUP);
                self.written[first..first + usize::from(SLOTS_PER_GROUP)].fill(at.index);
            } else if one.command.is(flags::WRITE) {
                let args = one.args.as_args();
                for key in one.command.keys.positions(args.len()) {
                    self.written[usize::from(hash_slot(args.get(key)))] = at.index;
                }
            }
        }
    }

    /// The last index that wrote a slot; 0 if none did.
    pub fn last_write(&self, slot: u16) -> u64 {
        self.written.get(usize::from(slot)).copied().unwrap_or(0)
    }

    /// The reply to a request that only reads, from what is applied now.
    pub fn read(&mut self, group: u16, now_ms: u64, bytes: &[u8], protocol: Protocol) -> Vec<u8> {
        let mut out = OutQueue::default();
        let mut reply = Reply::new(&mut out, protocol);
        if let Err(error) = self.read_one(group, now_ms, bytes, &mut reply) {
            error.write_to(&mut reply);
        }
        flatten(&mut out)
    }

    fn read_one(
        &mut self,
        group: u16,
        now_ms: u64,
        bytes: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<(), CmdError> {
        let unreadable = || CmdError::text("ERR this request cannot be read");
        let request = request::read(bytes).filter(|request| !request.is_transaction);
        let request = request.ok_or_else(unreadable)?;
        let one = Prepared::new(&request.commands[0])?;
        if one.command.is(flags::WRITE) {
            return Err(unreadable());
        }
        let args = one.args.as_args();
        match one.command.run {
            Run::Read(run) => {
                let pin = reclaim::pin();
                run(&self.reader(&pin, None, now_ms), args, reply)
            }
            Run::Locked(_) => {
                let mut shards = ShardSet::new();
                self.shards_of(group, &one, &mut shards);
                let mut held = self.node.engine.store.lock(&shards);
                let moment = Moment { now_ms, seed: random_seed() };
                let outcome = self.run(&mut held, moment, &one, reply);
                self.effects.events.clear();
                outcome
            }
            Run::Walk(_) if one.command.name == "dbsize" => {
                reply.int(self.count(group) as i64);
                Ok(())
            }
            _ if one.command.name == "watch" => {
                let (index, deadline_ms) = self.watch(args, now_ms);
                reply.array(2);
                reply.int(index as i64);
                reply.int(deadline_ms as i64);
                Ok(())
            }
            _ => Err(not_of_a_cluster()),
        }
    }

    /// The last index that wrote the slots of these keys, and when the first of them ends.
    fn watch(&self, args: Args<'_>, now_ms: u64) -> (u64, u64) {
        let (pin, store) = (reclaim::pin(), &self.node.engine.store);
        let keys = || args.iter_from(1);
        let index = keys().map(|key| self.last_write(hash_slot(key))).max().unwrap_or(0);
        let deadline = |bytes| store.peek(&pin, 0, &store.key(bytes))?.deadline();
        // One that is past its deadline already is not there, and cannot end.
        let deadlines = keys().filter_map(deadline).filter(|deadline| *deadline > now_ms);
        (index, deadlines.min().unwrap_or(0))
    }

    /// Keys of a group.
    pub fn count(&self, group: u16) -> u64 {
        let store = &self.node.engine.store;
        shards(group).map(|shard| store.shard_len(shard, 0)).sum()
    }

    /// Whether keys of a group have a deadline.
    pub fn has_deadlines(&self, group: u16) -> bool {
        let pin = reclaim::pin();
        shards(group).any(|shard| self.node.engine.store.has_keys(&pin, shard, true))
    }

    /// The state of a group as bytes, for a snapshot at what is applied now.
    pub fn cut(&self, group: u16) -> Vec<u8> {
        let mut out = vec![STATE_VERSION];
        let first = usize::from(group * SLOTS_PER_GROUP);
        let written = &self.written[first..first + usize::from(SLOTS_PER_GROUP)];
        written.iter().for_each(|index| put_varint(&mut out, *index));
        let mut entry_bytes = Vec::new();
        for shard in shards(group) {
            let held = self.node.engine.store.lock_one(shard);
            held.for_each(shard, &mut |db, entry, object| {
                entry_bytes.clear();
                encode_entry(db, entry, object, &mut entry_bytes);
                put_string(&mut out, &entry_bytes);
            });
        }
        out
    }

    /// Whether a state can be put in the place of what the group has here.
    pub fn check(&self, group: u16, state: &[u8]) -> Result<(), BadState> {
        let mut source = Source::new(state);
        if !state.is_empty() {
            take_written(&mut source)?;
        }
        while !source.is_empty() {
            self.take_entry(group, &mut source)?;
        }
        Ok(())
    }

    /// Puts a state in the place of what the group has here; an empty one is that of a birth.
    pub fn restore(&mut self, group: u16, state: &[u8]) -> Result<(), BadState> {
        self.clear(group);
        if state.is_empty() {
            return Ok(());
        }
        let mut source = Source::new(state);
        let written = take_written(&mut source)?;
        let first = usize::from(group * SLOTS_PER_GROUP);
        self.written[first..first + written.len()].copy_from_slice(&written);
        while !source.is_empty() {
            let (entry, key) = self.take_entry(group, &mut source)?;
            entry.put(&mut self.node.engine.store.lock_one(key.shard()), &key);
        }
        Ok(())
    }

    fn take_entry<'b>(
        &self,
        group: u16,
        source: &mut Source<'b>,
    ) -> Result<(DecodedEntry<'b>, Key<'b>), BadState> {
        let bytes = source.string().ok_or(BadState)?;
        let entry = DecodedEntry::decode(bytes).map_err(|_| BadState)?;
        let key = self.node.engine.store.key(entry.key);
        match key.shard() / SHARDS_PER_GROUP == group {
            true => Ok((entry, key)),
            false => Err(BadState),
        }
    }

    /// Lets everything go that a group has here.
    pub fn clear(&mut self, group: u16) {
        let mut all = ShardSet::new();
        shards(group).for_each(|shard| all.insert(shard));
        let mut held = self.node.engine.store.lock(&all);
        (0..crate::limits::DATABASES as u8).for_each(|db| held.flush(db));
        drop(held);
        let first = usize::from(group * SLOTS_PER_GROUP);
        self.written[first..first + usize::from(SLOTS_PER_GROUP)].fill(0);
    }
}

/// The indexes that wrote the slots of a group last.
fn take_written(source: &mut Source<'_>) -> Result<Vec<u64>, BadState> {
    source.u8().filter(|version| *version == STATE_VERSION).ok_or(BadState)?;
    (0..SLOTS_PER_GROUP).map(|_| source.varint().ok_or(BadState)).collect()
}

/// The group of a shard.
pub fn group_of_shard(shard: u16) -> u16 {
    shard / SHARDS_PER_GROUP
}

fn shards(group: u16) -> impl Iterator<Item = u16> {
    group * SHARDS_PER_GROUP..(group + 1) * SHARDS_PER_GROUP
}

/// A command with its row.
struct Prepared {
    command: &'static Command,
    args: OwnedArgs,
}

impl Prepared {
    fn new(args: &[&[u8]]) -> Result<Prepared, CmdError> {
        let args = args.iter().copied().collect::<OwnedArgs>();
        let command = resolve(args.as_args())?;
        match not_there(command, args.as_args()) {
            Some(text) => Err(CmdError::text(text)),
            None => Ok(Prepared { command, args }),
        }
    }
}

fn resolve(args: Args<'_>) -> Result<&'static Command, CmdError> {
    let row = LOOKUP.find(args.get(0)).ok_or_else(not_of_a_cluster)?;
    let (command, _) = TABLE[row].resolve(args);
    match command.arity_fits(args.len()) {
        true => Ok(command),
        false => Err(CmdError::Arity(command.name.into())),
    }
}

fn not_of_a_cluster() -> CmdError {
    CmdError::text("ERR this command is not executed by a group of a cluster")
}

/// All bytes of a queue.
fn flatten(out: &mut OutQueue) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(out.len());
    while !out.is_empty() {
        let (pieces, count) = out.pieces::<16>(u64::MAX);
        let taken: usize = pieces[..count].iter().map(|piece| piece.len()).sum();
        pieces[..count].iter().for_each(|piece| bytes.extend_from_slice(piece));
        assert!(taken > 0, "a queue that is not empty has a piece");
        out.consume(taken);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Identity;
    use crate::util::rng::SplitMix64;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const WORDS: [&str; 16] = [
        "{t}a",
        "{t}b",
        "0",
        "1",
        "-1",
        "9223372036854775807",
        "nx",
        "ex",
        "count",
        "limit",
        "withscores",
        "(1",
        "+inf",
        "maxlen",
        "~",
        "",
    ];

    /// A peer may name any command with any arguments, as a write and as a read.
    #[test]
    fn no_command_of_a_peer_ends_the_node() {
        let seed = 4711;
        println!("seed {seed}");
        let node = Node::new(Config::permissive(), Identity::default(), 1).unwrap();
        let mut executor = Executor::new(&node);
        let mut rng = SplitMix64::new(seed);
        let group = hash_slot(b"{t}a") / SLOTS_PER_GROUP;
        for round in 0..60_000u64 {
            let row = &TABLE[rng.below(TABLE.len() as u64) as usize];
            let mut words = vec![row.name.as_bytes()];
            let least = usize::from(row.arity.unsigned_abs()) - 1;
            let word = |rng: &mut SplitMix64| WORDS[rng.below(WORDS.len() as u64) as usize];
            let count = least + rng.below(4) as usize;
            words.extend((0..count).map(|_| word(&mut rng).as_bytes()));
            let mut bytes = match rng.below(4) {
                0 => request::transaction(&[Watched { slot: 5, index: 9, deadline_ms: 7 }]),
                _ => Vec::new(),
            };
            match bytes.is_empty() {
                true => bytes = request::one(words.iter().copied()),
                false => request::push(&mut bytes, words.iter().copied()),
            }
            if rng.below(8) == 0 {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << rng.below(8);
            }
            let (index, time_ms) = (round, rng.next_u64() >> 20);
            let at = At { group, index, time_ms, number: 0 };
            let wanted = (rng.below(2) == 0).then_some(Protocol::Resp3);
            let done = catch_unwind(AssertUnwindSafe(|| {
                executor.apply(at, &bytes, wanted);
                executor.read(group, time_ms, &bytes, Protocol::Resp2);
            }));
            assert!(done.is_ok(), "seed {seed}, round {round}: {}", bytes.escape_ascii());
        }
        let held = node.engine.store.lock_one(group * SHARDS_PER_GROUP);
        let mut others = 0;
        held.for_each(group * SHARDS_PER_GROUP, &mut |db, _, _| others += usize::from(db != 0));
        assert_eq!(others, 0, "a cluster has one database");
    }

    #[test]
    fn a_state_is_looked_at_before_it_takes_the_place_of_another() {
        let node = Node::new(Config::permissive(), Identity::default(), 1).unwrap();
        let mut executor = Executor::new(&node);
        let group = hash_slot(b"{t}a") / SLOTS_PER_GROUP;
        let set = request::one([&b"set"[..], b"{t}a", b"value"].into_iter());
        executor.apply(At { group, index: 1, time_ms: 1, number: 0 }, &set, None);
        let state = executor.cut(group);
        assert_eq!(executor.check(group, &state), Ok(()));
        assert_eq!(executor.check(group ^ 1, &state), Err(BadState), "of another group");
        assert_eq!(executor.check(group, &[]), Ok(()));
        let ends = (1..state.len()).filter(|&end| executor.check(group, &state[..end]).is_ok());
        // One without its only entry is a state, too.
        assert!(ends.count() <= 1);
        assert_eq!(executor.restore(group, &state), Ok(()));
        assert_eq!(executor.count(group), 1);
    }
}
