//! The server as its commands see it: engine, configuration, statistics, and what connections
//! share.

use super::cluster::Gateway;
use super::cluster::execute::group_of_shard;
use super::command_stats::{CommandStats, Place};
use super::durability::Durability;
use super::evicting::Room;
use super::loading::Loading;
use super::monitor::Monitors;
use super::pause::Pause;
use super::pubsub::Registry;
use super::saving::Saving;
use super::slowlog::SlowLog;
use super::sweeping::Sweeping;
use super::switching::Switching;
use crate::config::Config;
use crate::engine::{CmdError, Count, Effects, Engine, HotSet, Tally};
use crate::limits::{
    BATCH_COMMANDS, COLLECT_AFTER_TICKS, COLLECT_SHORT_TICKS, COLLECT_SHRUNK_MIN, ERROR_CODES_MAX,
    EVICTIONS_PER_MOVE,
};
use crate::net::Hub;
use crate::store::Compactor;
use crate::sys::eventfd::EventFd;
use crate::util::rng::SplitMix64;
use crate::wal::RecordBuf;
use crossbeam_utils::CachePadded;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// All connections with the server as their service.
pub type NodeHub = Hub<Node>;

/// The server.
pub struct Node {
    /// Keyspace and clock.
    pub engine: Engine,
    /// Live configuration.
    pub config: Config,
    /// What is known of this process since its start.
    pub identity: Identity,
    /// Statistics, one place a worker.
    pub workers: Box<[CachePadded<WorkerStats>]>,
    /// Errors answered, by code.
    pub errors: Mutex<std::collections::BTreeMap<String, u64>>,
    /// Who listens to what.
    pub pubsub: Registry,
    /// Commands that took long.
    pub slowlog: SlowLog,
    /// Connections that see every command.
    pub monitors: Monitors,
    /// The log.
    pub durability: Durability,
    /// Snapshots.
    pub saving: Saving,
    /// How far a start has read the data; clients are served when it is over.
    pub loading: Loading,
    /// Changes of what is kept on disk.
    pub switching: Switching,
    /// CLIENT PAUSE.
    pub pause: Pause,
    /// What counts against `maxmemory`.
    pub room: Room,
    /// Which keys are used most.
    pub hot: HotSet,
    /// Active expiry runs (DEBUG SET-ACTIVE-EXPIRE).
    pub active_expire: AtomicBool,
    /// What SHUTDOWN asks of the process.
    pub shutdown: Shutdown,
    /// Numbers that INFO derives rates and peaks from.
    pub gauges: Gauges,
    /// Where the workers of a cluster's node meet its driver; empty on a node that stands alone.
    pub cluster: OnceLock<Arc<Gateway>>,
}

/// What is known of this process since its start.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// 40 hexadecimal digits, new at every start.
    pub run_id: String,
    /// When it started, ms since 1970.
    pub started_ms: u64,
    /// Path of the program.
    pub executable: String,
    /// Path of the configuration file; empty without one.
    pub config_file: String,
}

/// One worker's numbers: it writes, INFO sums.
#[derive(Default)]
pub struct WorkerStats {
    /// Keyspace counts.
    pub tally: Tally,
    /// Commands executed.
    pub commands: Count,
    /// Bytes of requests received.
    pub input_bytes: Count,
    /// Bytes of replies appended.
    pub output_bytes: Count,
    /// Batches of requests received.
    pub reads: Count,
    /// Batches of replies made.
    pub writes: Count,
    /// Error replies.
    pub error_replies: Count,
    /// Calls and times of each command.
    pub by_command: CommandStats,
}

/// What one worker owns.
pub struct Local {
    /// Which worker it is.
    pub worker: usize,
    /// Seeds for requests.
    pub rng: SplitMix64,
    /// Reused between requests.
    pub effects: Effects,
    /// Where the sweep over times of use is.
    pub sweeping: Sweeping,
    /// Uses of keys until one is counted for the hot keys.
    pub until_sample: u64,
    /// Where the next slice of active expiry starts.
    pub expire_at: u16,
    /// When memory goes back to the system.
    pub shrinking: Shrinking,
    /// Whether the allocator was allowed to have huge pages.
    pub has_huge_pages: bool,
    /// This worker's part of compaction.
    pub compactor: Compactor,
    /// Evictions for a request until a segment is compacted.
    pub until_move: u32,
    /// A record in the making.
    pub record: RecordBuf,
    /// Times of the commands of a batch that ran, in ns, to be noted together.
    pub times: [(Place, u64); BATCH_COMMANDS],
    /// The newest position that a reply of this batch has seen, if it is not released yet.
    pub after: u64,
    /// Records were appended that this worker is to write at the end of its round.
    pub unwritten: bool,
}

/// Watches for a fall of the memory that data takes.
#[derive(Default)]
pub struct Shrinking {
    /// Most bytes since the last time.
    peak_bytes: u64,
    /// Ticks until memory is given back; 0: nothing is planned.
    ticks_left: u32,
}

impl Shrinking {
    /// True when, at this tick, memory is to be given back; now and then while it is short.
    pub fn tick(&mut self, used_bytes: u64, is_short: bool) -> bool {
        if is_short && self.ticks_left == 0 {
            self.ticks_left = COLLECT_SHORT_TICKS;
        }
        if self.ticks_left > 0 {
            self.ticks_left -= 1;
            return self.ticks_left == 0;
        }
        self.peak_bytes = self.peak_bytes.max(used_bytes);
        let fall = self.peak_bytes - used_bytes;
        if fall >= COLLECT_SHRUNK_MIN && fall > self.peak_bytes / 2 {
            *self = Shrinking { peak_bytes: used_bytes, ticks_left: COLLECT_AFTER_TICKS };
        }
        false
    }
}

/// A request to end the process.
pub struct Shutdown {
    /// Set once by whoever asks for it.
    pub requested: AtomicBool,
    /// Rung after that.
    pub bell: EventFd,
    /// Whether a last snapshot is wanted, if that was said.
    pub save: Mutex<Option<bool>>,
}

impl Shutdown {
    fn new() -> io::Result<Shutdown> {
        Ok(Shutdown {
            requested: AtomicBool::new(false),
            bell: EventFd::new()?,
            save: Mutex::default(),
        })
    }

    /// Asks for the end of the process, with or without a last snapshot if `save` says so.
    pub fn request(&self, save: Option<bool>) {
        *self.save.lock().unwrap_or_else(PoisonError::into_inner) = save;
        self.requested.store(true, Ordering::SeqCst);
        // It refuses only when rung 2^64 - 2 times, and then it is rung.
        let _ = self.bell.ring();
    }
}

/// Numbers that a tick keeps.
#[derive(Default)]
pub struct Gauges {
    /// Highest memory seen, bytes.
    pub memory_peak: AtomicU64,
    /// Commands per second over the last ticks.
    pub ops_per_s: AtomicU64,
    /// Bytes received per second over the last ticks.
    pub input_per_s: AtomicU64,
    /// Bytes sent per second over the last ticks.
    pub output_per_s: AtomicU64,
    /// Time in ms and totals at the last ticks, oldest first.
    window: Mutex<VecDeque<(u64, [u64; 3])>>,
}

/// Ticks that rates are taken over.
const RATE_TICKS: usize = 16;

impl Local {
    /// The state of worker `worker` of `workers`.
    pub fn new(worker: usize, workers: usize) -> Local {
        let rng = SplitMix64::new(random_seed());
        Local {
            worker,
            rng,
            effects: Effects::default(),
            sweeping: Sweeping::default(),
            until_sample: 0,
            expire_at: 0,
            shrinking: Shrinking::default(),
            has_huge_pages: false,
            compactor: Compactor::new(worker, workers),
            until_move: EVICTIONS_PER_MOVE,
            record: RecordBuf::default(),
            times: [(Place::new(0, None), 0); BATCH_COMMANDS],
            after: 0,
            unwritten: false,
        }
    }
}

impl Gauges {
    /// Brings the numbers up to date; called ten times a second. Rates are those of the last
    /// sixteen ticks.
    pub fn tick(&self, node: &Node, now_ms: u64) {
        self.memory_peak.fetch_max(node.engine.store.memory_bytes(), Ordering::Relaxed);
        let totals = [
            node.total(|stats| &stats.commands),
            node.total(|stats| &stats.input_bytes),
            node.total(|stats| &stats.output_bytes),
        ];
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.push_back((now_ms, totals));
        if window.len() > RATE_TICKS {
            window.pop_front();
        }
        let Some((since_ms, before)) = window.front() else { return };
        let span_ms = (now_ms - since_ms).max(1);
        for (rate, (now, then)) in [&self.ops_per_s, &self.input_per_s, &self.output_per_s]
            .into_iter()
            .zip(totals.iter().zip(before))
        {
            // RESETSTAT may have turned a total back.
            rate.store(now.saturating_sub(*then) * 1000 / span_ms, Ordering::Relaxed);
        }
    }
}

impl Node {
    /// A server with an empty keyspace and `workers` workers. An error if the system has no
    /// descriptor left.
    pub fn new(config: Config, identity: Identity, workers: usize) -> io::Result<Node> {
        let seed = random_seed();
        Ok(Node {
            engine: Engine::new(seed),
            config,
            identity,
            workers: (0..workers).map(|_| CachePadded::new(WorkerStats::default())).collect(),
            errors: Mutex::default(),
            pubsub: Registry::default(),
            slowlog: SlowLog::default(),
            monitors: Monitors::default(),
            durability: Durability::default(),
            saving: Saving::default(),
            loading: Loading::default(),
            switching: Switching::default(),
            pause: Pause::default(),
            room: Room::default(),
            hot: HotSet::new(workers),
            active_expire: AtomicBool::new(true),
            shutdown: Shutdown::new()?,
            gauges: Gauges::default(),
            cluster: OnceLock::new(),
        })
    }

    /// True until the data on disk is in memory.
    pub fn is_loading(&self) -> bool {
        self.loading.is_on()
    }

    /// The clock by which keys of a shard are past their deadline, ms since 1970: in a cluster, log
    /// time of what is applied.
    pub fn expiry_clock_ms(&self, shard: u16) -> u64 {
        match self.cluster.get() {
            Some(gateway) => gateway.group(group_of_shard(shard)).log_time_ms(),
            None => self.engine.clock.now_ms(),
        }
    }

    /// The process clock, ms since 1970.
    pub fn now_ms_hint(&self) -> u64 {
        self.engine.clock.now_ms()
    }

    /// Bytes that connections hold: their slots, unparsed requests and unsent replies.
    pub fn clients_bytes(&self, hub: &NodeHub) -> u64 {
        let mut bytes = 0;
        hub.for_each(|_, card| {
            bytes += card.query_bytes.load(Ordering::Relaxed) + card.unsent_bytes();
        });
        bytes as u64
    }

    /// Starts the statistics over (CONFIG RESETSTAT).
    pub fn reset_stats(&self) {
        for stats in &self.workers {
            let tally = &stats.tally;
            for count in [&tally.hits, &tally.misses, &tally.expired, &tally.evicted] {
                count.reset();
            }
            for count in [&stats.commands, &stats.input_bytes, &stats.output_bytes] {
                count.reset();
            }
            for count in [&stats.error_replies, &stats.reads, &stats.writes] {
                count.reset();
            }
            stats.by_command.reset();
        }
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.gauges.memory_peak.store(self.engine.store.memory_bytes(), Ordering::Relaxed);
    }

    /// Counts an error reply by its code.
    pub fn note_error(&self, worker: usize, error: &CmdError) {
        let text = error.to_string();
        let code = text.split(' ').next().unwrap_or("ERR");
        self.workers[worker].error_replies.add(1);
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = errors.get_mut(code) {
            *count += 1;
        } else if errors.len() < ERROR_CODES_MAX {
            // Codes are the server's own words, but those of scripts may be anything one day.
            errors.insert(code.to_string(), 1);
        }
    }

    /// The sum of one count over all workers.
    pub fn total(&self, count: impl Fn(&WorkerStats) -> &Count) -> u64 {
        self.workers.iter().map(|stats| count(stats).get()).sum()
    }
}

/// Entropy of the operating system.
pub fn random_seed() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        // No entropy device at this moment: time and an address still differ from run to run.
        let here = &raw const ALLOCATION_MARK as u64;
        crate::sys::clock::monotonic_ns() ^ here.rotate_left(32)
    })
}

static ALLOCATION_MARK: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_back_once_after_a_fall_by_half() {
        const MIB: u64 = 1 << 20;
        let mut shrinking = Shrinking::default();
        let mut ticks =
            |used_bytes, count| (0..count).filter(|_| shrinking.tick(used_bytes, false)).count();
        assert_eq!(ticks(100 * MIB, 20), 0);
        assert_eq!(ticks(51 * MIB, 20), 0, "not by half");
        assert_eq!(ticks(49 * MIB, COLLECT_AFTER_TICKS), 0, "what is in limbo is waited for");
        assert_eq!(ticks(49 * MIB, 20), 1);
        assert_eq!(ticks(20 * MIB, 20), 1, "and again");
        assert_eq!(ticks(5 * MIB, 20), 0, "too little to matter");
    }
}
