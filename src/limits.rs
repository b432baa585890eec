//! Every bound and size, with the assertions that hold between them.
//!
//! A queue, loop, buffer or connection that is bounded elsewhere is a bug of that place: the
//! bound belongs here, with a sentence on what happens when it is reached.

mod bench;
mod cluster;

pub use bench::*;
pub use cluster::*;

/// Shards of the keyspace. `shard = hash_slot >> 5` for the life of the data.
pub const SHARDS: usize = 512;
/// Hash slots of the Redis cluster protocol.
pub const HASH_SLOTS: usize = 16384;
/// Numbered databases (`SELECT 0..15`); each shard has one table for each that is in use.
pub const DATABASES: usize = 16;

/// Bytes of one receive. Half of this doubled the processor time for values of 16 KiB: what is
/// left in the socket is acknowledged, and sent, in small pieces.
pub const TURN_BYTES: usize = 128 * 1024;
/// Commands executed for one connection in one turn.
pub const TURN_COMMANDS: usize = 128;
/// Receives in one turn, when nobody else waits.
pub const TURN_READS: usize = 4;
/// Connections accepted from one listener before others have their turn.
pub const ACCEPTS_PER_EVENT: usize = 64;
/// A worker with more events than this gives half of them to a sleeping peer.
pub const SHARE_EVENTS_ABOVE: usize = 8;
/// Milliseconds between two ticks of a worker.
pub const TICK_MS: u64 = 100;
/// Nanoseconds that a thread on the way of a reply asks for at a time: less than what the system
/// gives others, so that it does not wait for their turns to end, and enough to do work in it.
pub const SLICE_NS: u64 = 400_000;
/// Commands parsed, hashed and prefetched together.
pub const BATCH_COMMANDS: usize = 16;
/// Events taken from one `epoll_wait`.
pub const EPOLL_EVENTS: usize = 256;
/// Pieces that one `sendmsg` takes along; further ones are left for the next call.
pub const SENDV_PIECES: usize = 64;

/// Connections that can exist at once, whatever `maxclients` says. The ready ring has as many
/// places, so a push to it cannot fail.
pub const CONNECTIONS_MAX: usize = 65_536;
/// Connection slots are allocated in chunks of this many.
pub const CONNECTION_CHUNK: usize = 1024;
/// Worker threads at most.
pub const WORKERS_MAX: usize = 256;

/// A bulk string longer than this is received into an allocation of its own.
pub const BULK_DIRECT_MIN: usize = 32 * 1024;
/// An entry of at least this size carries a reference count, so that replies can refer to it.
pub const ENTRY_SHARED_MIN: usize = 16 * 1024;
/// A string is never longer, whatever `proto-max-bulk-len` says: an entry tells its length in 32
/// bits. BITFIELD checks where an integer begins, and that one may reach eight bytes further.
pub const STRING_LEN_MAX: usize = u32::MAX as usize - 8;
/// `proto-max-bulk-len` by default; a longer bulk is a protocol error.
pub const BULK_LEN_DEFAULT: usize = 512 * 1024 * 1024;
/// Arguments of one request at most; more is a protocol error.
pub const ARGS_MAX: usize = 1024 * 1024;
/// An inline request, or the line of a length, longer than this is a protocol error.
pub const INLINE_MAX: usize = 64 * 1024;
/// Arguments whose places a request that was answered keeps memory for.
pub const REQUEST_SPANS_KEPT: usize = 1024;
/// Bytes of an inline request that memory is kept for once it was answered.
pub const REQUEST_INLINE_KEPT: usize = 4096;
/// A bulk of at least this many bytes is received into small pages: with huge ones the first byte
/// behind an announced length would commit 2 MiB.
pub const BULK_SMALL_PAGES_MIN: usize = 4 * 1024 * 1024;
/// Bytes by which the data must shrink, to less than half, before a worker has the allocator look
/// for memory to give back.
pub const COLLECT_SHRUNK_MIN: u64 = 16 * 1024 * 1024;
/// Ticks that it waits from then on, so that what is in limbo is free as well.
pub const COLLECT_AFTER_TICKS: u32 = 5;
/// Ticks between two such looks while memory is short.
pub const COLLECT_SHORT_TICKS: u32 = 10;
/// Bytes of the largest object that the allocator takes from its arenas; a larger one comes from
/// the system and goes back there.
pub const ALLOCATOR_ARENA_OBJECT_MAX: usize = 64 * 1024 * 1024;
/// Bytes of collections and buffers from which on the allocator may have huge pages.
pub const ALLOCATOR_HUGE_MIN: u64 = 32 * 1024 * 1024;
/// Bytes reserved in front of a large bulk for the header of an entry; its key comes on top.
pub const LARGE_HEADROOM: usize = 64;
/// Arguments of one request before authentication.
pub const UNAUTH_ARGS_MAX: usize = 10;
/// Bytes of one bulk before authentication.
pub const UNAUTH_BULK_MAX: usize = 16 * 1024;

/// Unsent reply bytes at which a connection is no longer read from.
pub const OUTPUT_HIGH_WATER: usize = 256 * 1024;
/// The same while the socket is full: what waits behind it need only keep it busy, and a hundred
/// clients that read nothing must cost little.
pub const OUTPUT_BLOCKED_WATER: usize = 64 * 1024;
/// Unsent reply bytes at which reading goes on.
pub const OUTPUT_LOW_WATER: usize = 32 * 1024;
/// Sent reply bytes at which the unsent ones are moved to the front of their buffer.
pub const OUTPUT_COMPACT_MIN: usize = 64 * 1024;

/// Bytes that the queued commands of one transaction may take; more are refused and EXEC aborts.
pub const MULTI_BYTES_MAX: usize = 1 << 30;
/// Arguments of one command that the slow log keeps.
pub const SLOWLOG_ARGS_MAX: usize = 32;
/// Bytes of one argument that the slow log keeps.
pub const SLOWLOG_ARG_BYTES_MAX: usize = 128;
/// Bytes of a request that an error reply quotes.
pub const QUOTED_BYTES_MAX: usize = 128;
/// Different error codes that are counted apart.
pub const ERROR_CODES_MAX: usize = 128;
/// Keys that KEYS looks at before it lets go of a shard's lock.
pub const KEYS_SLICE: usize = 256;
/// Keys examined for expiry in one shard before another has its turn.
pub const EXPIRE_SLICE_KEYS: usize = 400;
/// Shards with nothing due that a worker's tick passes between two looks at the clock.
pub const EXPIRE_SHARDS_PER_LOOK: usize = 16;
/// Time for active expiry in one tick of a worker, before connections have their turn again.
pub const EXPIRE_TICK_NS: u64 = 1_000_000;

/// Addresses that `bind` may name; more are refused.
pub const BIND_ADDRESSES_MAX: usize = 16;
/// Bytes of one configuration file; a larger one is refused.
pub const CONFIG_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Files that may include each other in a chain; a longer chain is refused.
pub const CONFIG_INCLUDE_DEPTH_MAX: usize = 8;
/// Files of one configuration, however they include each other; more are refused.
pub const CONFIG_FILES_MAX: usize = 256;

/// Bytes of a worker's buffer for replies; one that grew beyond is given back.
pub const REPLY_BUFFER_KEPT: usize = 256 * 1024;
/// Short buffers for replies that a worker keeps beside it, for connections whose replies wait for
/// the log; more are given back. They count for `maxmemory` as what else is resident.
pub const REPLY_BUFFERS_SPARE: usize = 64;
/// Bytes of such a buffer at most.
pub const REPLY_SPARE_BYTES: usize = 4096;
/// Entries retired together in one deferred destruction.
pub const RETIRE_BATCH: usize = 64;
/// Bytes of retired entries at which a batch is handed over early.
pub const RETIRE_BYTES: usize = 1024 * 1024;
/// Steps of one reclamation tick; each frees at most 8 batches. What is left waits for the next.
pub const COLLECT_STEPS: usize = 256;
/// Steps without progress after which a reclamation tick gives up: a reader is in the way.
pub const COLLECT_STEPS_IDLE: usize = 8;

/// Bytes by which a shard's memory changes before the sum over all shards is told of it.
pub const ACCOUNT_CHUNK_BYTES: u64 = 1024;
/// Home buckets that a sweep over times of use passes under one lock.
pub const SWEEP_HOMES_PER_LOCK: usize = 256;
/// Keys that one request evicts before it goes on, if there is nearly enough room by then.
pub const EVICT_PER_REQUEST: usize = 64;
/// Keys that one request evicts at most; it is refused if there is not enough room then.
pub const EVICT_PER_REQUEST_MAX: usize = 65_536;
/// Entries of what FLUSHALL left that one request gives back at most, before keys go.
pub const BURY_PER_REQUEST: usize = 65_536;
/// This much of `maxmemory` is for data alone, whatever else is resident: the least limits that
/// Redis works with would leave nothing otherwise.
pub const MAXMEMORY_FOR_DATA: u64 = 8 << 20;
/// Shards whose candidates are compared where each has only a few keys.
pub const EVICT_LOOKS: usize = 8;
/// What a tick spends on eviction.
pub const EVICT_TICK_NS: u64 = 2_000_000;
/// Home buckets that a tick passes in its sweep over times of use.
pub const SWEEP_HOMES_PER_TICK: usize = 2048;
/// Time after which the counts of the hot keys are halved.
pub const HOT_FADE_MS: u64 = 60_000;
/// A sweep over times of use starts this long after the one before at the earliest.
pub const SWEEP_EVERY_MS: u64 = 1000;
/// Home buckets that the hand passes at most while it looks for one key to evict.
pub const EVICT_HOMES_MAX: usize = 64;

/// Slots in a bucket beside its control word: one cache line.
pub const BUCKET_SLOTS: usize = 7;
/// Buckets in a segment: 4 KiB.
pub const SEGMENT_BUCKETS: usize = 64;
/// Leading hash bits by which segments are told apart at most; where they do not suffice, a
/// segment gets an overflow chain.
pub const SEGMENT_DEPTH_MAX: u32 = 31;
/// Two neighbouring segments are joined when their entries would fill so many per cent of one.
pub const SEGMENT_JOIN_PERCENT: usize = 45;
/// A table whose segments are filled by fewer per cent is looked through for some to join.
pub const TABLE_THIN_PERCENT: u64 = 22;
/// Words that a table's directory may have for each of its segments. Where hashes are so alike
/// that it would need more, a segment gets an overflow chain.
pub const DIRECTORY_WORDS_PER_SEGMENT: u64 = 256;

/// Bytes of a span: slots of one size. Its pages are committed as slots are first used.
pub const SLAB_SPAN_BYTES: usize = 256 * 1024;
/// Bytes of a region, the address space that is asked of the system at once: 127 spans, and one
/// for their descriptors. Regions are never unmapped: 8 KiB of 32 MiB stay of what grew and shrank.
pub const SLAB_REGION_BYTES: usize = 128 * SLAB_SPAN_BYTES;
/// Bytes of the largest entry that lies in a slab; larger ones come from the process allocator.
pub const SLAB_ENTRY_MAX: usize = ENTRY_SHARED_MIN;
/// Empty spans whose pages are kept; those of further ones go back to the system at once.
pub const SLAB_SPANS_KEPT: usize = 8;
/// Slots that move between a thread and the slabs at once, under one lock.
pub const SLAB_BATCH: usize = 64;
/// Bytes of free slots of one size that a thread keeps; at more, a batch goes back.
pub const SLAB_CACHE_BYTES: usize = 64 * 1024;
/// Free slots of one size that a thread keeps at most, however small they are.
pub const SLAB_CACHE_SLOTS_MAX: usize = 512;
/// Free slots of one size that a thread may keep, however large they are.
pub const SLAB_CACHE_SLOTS_MIN: usize = 8;
/// A span of whose slots one in so many is free is sparse: its slots are moved elsewhere, once the
/// slabs as a whole have so much slack.
pub const SLAB_SPARSE_PART: usize = 3;
/// The same while memory is short.
pub const SLAB_SPARSE_PART_SHORT: usize = 8;
/// Bytes of free slots that make emptying a span worth while.
pub const SLAB_SPARSE_GAIN_MIN: usize = 16 * 1024;
/// Bytes of slack below which nothing is moved.
pub const COMPACT_SLACK_MIN: u64 = 4 * 1024 * 1024;
/// Nothing is moved either while the slack is a smaller part (one in so many) of the slabs.
pub const COMPACT_SLACK_PART: u64 = 4;
/// The same while memory is short.
pub const COMPACT_SLACK_PART_SHORT: u64 = 12;
/// Evictions that a worker's requests pay for until it compacts one segment too, if it has any to.
pub const EVICTIONS_PER_MOVE: u32 = 32;
/// Spans that are marked, or unmarked, in one tick.
pub const COMPACT_SPANS_PER_TICK: usize = 1024;
/// Ticks after a round until its marks are taken away, so that what was moved is freed by then.
pub const COMPACT_COOLING_TICKS: u32 = 5;
/// Ticks between two rounds, after one that was of use.
pub const COMPACT_PAUSE_TICKS: u32 = 10;
/// The same after rounds that were of no use: it doubles up to this.
pub const COMPACT_PAUSE_TICKS_MAX: u32 = 600;
/// Shards in which a worker looks for thin tables in one tick.
pub const COMPACT_LOOKS: usize = 32;
/// Time for compaction in one tick of a worker, before connections have their turn again.
pub const COMPACT_TICK_NS: u64 = 1_000_000;
/// The same while more than half of the slabs is free.
pub const COMPACT_TICK_URGENT_NS: u64 = 4_000_000;

/// Lookups of one key before the reader takes the shard's lock.
pub const READ_TRIES: usize = 64;
/// Lookups of several keys as a whole before the reader takes their shards' locks.
pub const READ_MANY_TRIES: usize = 3;
/// Home buckets that one SCAN call passes, for each key asked for, before it returns with fewer.
pub const SCAN_STEPS_PER_KEY: usize = 64;
/// Home buckets that one SCAN call may pass however few keys are asked for.
pub const SCAN_STEPS_MIN: usize = 4096;
/// Home buckets that a SCAN passes before it lets go of the shard's lock for a moment.
pub const SCAN_LOCK_STEPS: usize = 256;
/// What retiring an empty segment of a flushed table costs of a budget counted in entries.
pub const FLUSH_SEGMENT_PRICE: usize = 8;

/// Bytes of elements in one node of a list; an element that does not fit opens another node.
pub const LIST_NODE_BYTES: usize = 8 * 1024;
/// Elements in one node of a list, which bounds the cost of short ones.
pub const LIST_NODE_ELEMENTS: usize = 512;
/// A list element of at least this many bytes lies in an allocation of its own.
pub const LIST_ALONE_MIN: usize = 2 * 1024;
/// Pairs of a hash, members of a set or sorted set, that are kept packed; a
/// collection that has ever held more is kept as a table. Fixed: the form decides the order
/// that a removal leaves behind.
pub const PACKED_LEN: usize = 128;
/// Bytes of the longest field, value or member of a packed collection.
pub const PACKED_ELEMENT_BYTES: usize = 64;
/// A field with its value, or a member, of at least this many bytes is counted, so that a copy of
/// the chunk it lies in does not copy it.
pub const ELEMENT_SHARED_MIN: usize = 1024;
/// A collection of fewer bytes is copied into a snapshot under its shard's lock; a larger one is
/// frozen then, and written later.
pub const FREEZE_MIN: usize = 64 * 1024;
/// Bytes of a frozen collection that are written to a snapshot together.
pub const FROZEN_PIECE_BYTES: usize = 64 * 1024;
/// Items in one chunk of a large collection; a chunk is never moved once it is full.
pub const COLLECTION_CHUNK: usize = 1024;
/// Entries in one segment of a collection's index; one more splits it.
pub const INDEX_SEGMENT_LEN: usize = 896;
/// Keys in a leaf of a sorted set's tree; one more splits it.
pub const RANKED_LEAF: usize = 64;
/// Children of an inner node of a sorted set's tree; one more splits it.
pub const RANKED_INNER: usize = 32;

/// Integers in the sorted form of a set; one more turns it into a hash table for good.
pub const SET_INTS_MAX: usize = 512;
/// Members that one command draws with repetition; more are refused as out of range.
pub const RANDOM_MEMBERS_MAX: usize = 1 << 24;

/// Bytes of entries in one block of a snapshot; an entry that does not fit spans several blocks.
pub const SNAPSHOT_BLOCK_BYTES: usize = 1024 * 1024;
/// Entries that are put, or looked at, under one lock while a snapshot is loaded or written.
pub const SNAPSHOT_BATCH_ENTRIES: usize = 256;
/// Snapshots that are kept; older ones are removed when a new one was published.
pub const SNAPSHOTS_KEPT: usize = 2;
/// Bytes of the log's ring in memory at most. When it is full, connections that write wait.
pub const LOG_RING_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of it at least. A ring goes through all of its memory: a small one stays in the caches.
pub const LOG_RING_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// Bytes of it for each worker, between the two.
pub const LOG_RING_WORKER_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of a segment of the log, by default; segments are written once and then recycled.
pub const LOG_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// No commit crosses a multiple of this position, which bounds the size of one write.
pub const LOG_CHUNK_BYTES: u64 = 1024 * 1024;
/// Bytes of a block of the log: what a commit is padded to, and what is written at least.
pub const LOG_BLOCK_BYTES: u64 = 4096;
/// Bytes of the header of a commit.
pub const LOG_COMMIT_HEADER: u64 = 64;
/// A record of the log is at most this long; a longer request goes into the log in fragments
/// before the record that uses it.
pub const LOG_RECORD_MAX: usize = 256 * 1024;
/// Bytes of a request that one fragment of it takes: four fit between two headers of commits.
pub const LOG_FRAGMENT_BYTES: usize = 262_000;
/// Writes in a row that the system took less than a block of; one more is an error.
pub const DISK_STALLS_MAX: u32 = 100;
/// Writes of the log under way at once.
pub const LOG_WRITES_MAX: usize = 4;
/// With a write under way, another one starts only for this many bytes.
pub const LOG_WRITE_BESIDE_MIN: u64 = 16 * 1024;
/// As long a commit is written at once where it goes through the page cache.
pub const LOG_CACHED_MIN: u64 = 64 * 1024;
/// Commits that a worker writes to the page cache in a row before a thread of the log goes on.
pub const LOG_HERE_MAX: usize = 4;
/// A worker whose write to the page cache took longer, in ns, leaves writing to the threads for
/// [`LOG_APART_NS`].
pub const LOG_HERE_SLOW_NS: u64 = 20_000_000;
/// How long, in ns.
pub const LOG_APART_NS: u64 = 1_000_000_000;
/// Microseconds that records wait at most for more to share a write with, while none is under way.
pub const LOG_HOLD_US: u64 = 200;
/// Milliseconds after which a log that went quiet writes down how far it is durable.
pub const LOG_QUIET_MS: u64 = 20;
/// Times that a process can begin a log; then `appendonly` can be switched on by a restart only.
pub const LOG_LIVES_MAX: usize = 256;
/// Milliseconds between two looks whether the requests are done that a switch of the log waits for.
pub const SWITCH_WAIT_MS: u64 = 1;
/// Changes of what is kept on disk whose failure is remembered for those who asked for them; who
/// comes later is told that it is done, and finds the directive as it was.
pub const SWITCH_FAILURES_KEPT: usize = 64;
/// Seconds until a snapshot is tried again that the length of the log asks for, after one failed.
pub const SAVE_RETRY_S: u64 = 5;
/// Segments of the log prepared ahead of the one in use.
pub const LOG_SEGMENTS_AHEAD: u64 = 2;
/// Shards that a writer of several cuts itself; for more the snapshot is given up and begun again.
pub const SAVE_CUTS_BY_WRITER_MAX: usize = 8;
/// Copies of shards that writers have made for a snapshot may take this part (one in so many bytes)
/// of the data; above it, writers of several shards wait until some are written.
pub const SAVE_COPIES_PART: u64 = 32;
/// Bytes that they may take however little data there is.
pub const SAVE_COPIES_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Milliseconds that a snapshot sleeps at once when it is faster than it may be.
pub const SAVE_NAP_MS: u64 = 100;
/// Milliseconds after which the log tells again how far a snapshot is.
pub const SAVE_REPORT_MS: u64 = 5000;
/// It does so earlier for so many per cent, but not before `SAVE_REPORT_MS_MIN`.
pub const SAVE_REPORT_PERCENT: f64 = 25.0;
/// Milliseconds between two such lines at least.
pub const SAVE_REPORT_MS_MIN: u64 = 1000;
/// Times that a snapshot is begun again before it counts as failed.
pub const SAVE_RETRIES: usize = 10;
/// Bytes of the log above which a snapshot is due, unless the data is more than twice as large.
pub const SAVE_LOG_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// Chunks of the log that are read ahead of the threads that replay them.
pub const REPLAY_CHUNKS_AHEAD: usize = 8;
/// Milliseconds between two looks of a start's progress on a terminal.
pub const LOAD_DRAW_MS: u64 = 100;
/// Milliseconds between two lines that a start writes to the log about its progress.
pub const LOAD_REPORT_MS: u64 = 3000;
/// Bytes of an argument that `dse-admin dump` prints.
pub const DUMP_ARG_BYTES_MAX: usize = 64;
/// Arguments of a request that `dse-admin dump` prints.
pub const DUMP_ARGS_MAX: usize = 16;
/// Milliseconds between two looks after the log's files: whether enough are prepared (again, on a
/// disk that was full), and whether a sync is due.
pub const LOG_UPKEEP_MS: u64 = 100;

/// Data groups of a cluster: each has its own log and leader, and 256 hash slots.
pub const CLUSTER_GROUPS: usize = 64;
/// Nodes that hold each group.
pub const CLUSTER_REPLICAS: usize = 3;
/// Points of a node on the ring that proposes where groups live.
pub const RING_VNODES: u64 = 128;
/// Microseconds between two ticks of a group at least; ticks that were missed are not made up for.
pub const GROUP_TICK_US: u64 = 50_000;
/// Ticks of an election timeout: how long a follower is silent after it heard from a leader, and
/// how long a leader goes on that hears from no majority.
pub const GROUP_ELECTION_TICKS: usize = 10;
/// Ticks between two heartbeats of a leader.
pub const GROUP_HEARTBEAT_TICKS: usize = 3;
/// Ticks without a leader after which the first in rank campaigns.
pub const GROUP_CAMPAIGN_TICKS_MIN: usize = 12;
/// Ticks by which each further rank waits longer.
pub const GROUP_CAMPAIGN_TICKS_STEP: usize = 3;
/// Ranks that are told apart; voters behind the last share it.
pub const GROUP_RANKS_MAX: usize = 8;
/// Microseconds of an election timeout.
pub const GROUP_ELECTION_US: u64 = GROUP_ELECTION_TICKS as u64 * GROUP_TICK_US;
/// Microseconds that a leader answers alone after the beginning of a round that a majority
/// confirmed: 0.8 election timeouts, which leaves room for clocks that differ in rate by 1.1.
pub const GROUP_LEASE_US: u64 = GROUP_ELECTION_US * 8 / 10;
/// Microseconds after the last read during which a leader keeps its lease up.
pub const GROUP_READ_IDLE_US: u64 = 1_000_000;
/// Log time runs faster or slower than the clock of its leader by one part of so many at most, to
/// come nearer to wall time: 5 %.
pub const GROUP_SLEW_PART: u64 = 20;
/// Rounds of read-index that one group has under way; further reads wait for the next round.
pub const GROUP_ROUNDS_MAX: usize = 4;
/// Bytes of one entry of a group's log; requests that wait together share one up to this size. A
/// larger request has an entry of its own.
pub const GROUP_ENTRY_BYTES: usize = 64 * 1024;
/// Requests of one group whose fate is open, and as many reads; more are refused.
pub const GROUP_OPEN_MAX: usize = 65_536;
/// Batches of one group that wait for the disk. While there are more, messages of peers are
/// dropped, which are sent again.
pub const GROUP_WRITES_MAX: usize = 256;
/// Messages with entries that a leader has under way to one peer.
pub const GROUP_INFLIGHT_MAX: usize = 128;
/// Bytes of entries in one message to a peer, unless a single entry is larger.
pub const GROUP_MESSAGE_BYTES: u64 = 256 * 1024;
/// Bytes of a leader's entries that are not committed; more are refused.
pub const GROUP_UNCOMMITTED_BYTES: u64 = 64 * 1024 * 1024;
/// Microseconds between two words of a node about itself while it is not born, and later.
pub const NODE_HELLO_BIRTH_US: u64 = 200_000;
/// The same for a member of a cluster.
pub const NODE_HELLO_US: u64 = 1_000_000;
/// Microseconds for which a word of a node about itself counts.
pub const NODE_HEARD_US: u64 = 3_500_000;
/// Microseconds between two looks at what is to be put in order: members, leaders, addresses.
pub const NODE_MANAGE_US: u64 = 200_000;
/// Microseconds for which a node must have been heard before it is given leaderships for balance.
pub const NODE_BALANCE_AFTER_US: u64 = 3_000_000;
/// Groups that a node hands over for balance at one look.
pub const NODE_BALANCE_GROUPS: usize = 4;
/// Microseconds after which a leadership that was to be handed over is tried again.
pub const NODE_TRANSFER_US: u64 = 2_000_000;
/// Microseconds for which a node that was told to take over asks leaders to hand over to it.
pub const NODE_TAKE_OVER_US: u64 = 5_000_000;
/// Microseconds for which it keeps what it was told to take, though the table wants others to lead.
pub const NODE_KEEP_US: u64 = 60_000_000;
/// Entries of the meta group behind its snapshot when the next one is cut.
pub const META_SNAPSHOT_ENTRIES: u64 = 256;
/// Bytes of a record of the groups' log beyond which the next one begins.
pub const NODE_RECORD_BYTES: usize = 192 * 1024;
/// Ticks after which a leader takes a snapshot that it sent for lost, and sends it again.
pub const GROUP_SNAPSHOT_TICKS: usize = 40;
/// Entries that a new replica may be behind when it is made a voter.
pub const GROUP_CAUGHT_UP_ENTRIES: u64 = 64;

const _: () = assert!(HASH_SLOTS.is_multiple_of(CLUSTER_GROUPS));
const _: () = assert!(SHARDS.is_multiple_of(CLUSTER_GROUPS));
// A lease that ran 1.1 times as slow as the silence it relies on would still end before it.
const _: () = assert!(GROUP_LEASE_US * 11 < GROUP_ELECTION_US * 10);
const _: () = assert!(GROUP_CAMPAIGN_TICKS_MIN > GROUP_ELECTION_TICKS);
const _: () = assert!(GROUP_HEARTBEAT_TICKS < GROUP_ELECTION_TICKS);
const _: () = assert!(HASH_SLOTS == SHARDS * 32);
const _: () = assert!((BUCKET_SLOTS + 1) * 8 == 64);
const _: () = assert!(SEGMENT_BUCKETS * 64 == 4096);
const _: () = assert!(ENTRY_SHARED_MIN <= BULK_DIRECT_MIN);
const _: () = assert!(SLAB_REGION_BYTES.is_power_of_two());
const _: () = assert!(SLAB_ENTRY_MAX.is_power_of_two() && SLAB_SPAN_BYTES >= 16 * SLAB_ENTRY_MAX);
const _: () = assert!(BULK_DIRECT_MIN < BULK_SMALL_PAGES_MIN);
const _: () = assert!(OUTPUT_LOW_WATER < OUTPUT_BLOCKED_WATER);
const _: () = assert!(OUTPUT_BLOCKED_WATER < OUTPUT_HIGH_WATER);
const _: () = assert!(CONNECTIONS_MAX.is_multiple_of(CONNECTION_CHUNK));
const _: () = assert!(CONNECTIONS_MAX.is_power_of_two());
const _: () = assert!(LIST_NODE_BYTES <= u16::MAX as usize);
const _: () = assert!(LIST_NODE_BYTES.is_power_of_two());
const _: () = assert!(LIST_ALONE_MIN <= LIST_NODE_BYTES / 4);
const _: () = assert!(PACKED_LEN <= u8::MAX as usize);
const _: () = assert!(PACKED_ELEMENT_BYTES < 128);
const _: () = assert!(INDEX_SEGMENT_LEN * 8 / 7 == 1024);
const _: () = assert!(PACKED_LEN * PACKED_ELEMENT_BYTES <= u16::MAX as usize);
const _: () = assert!(LOG_SEGMENT_BYTES.is_multiple_of(LOG_CHUNK_BYTES));
const _: () = assert!(LOG_CHUNK_BYTES.is_multiple_of(LOG_BLOCK_BYTES));
const _: () = assert!(LOG_RING_BYTES.is_power_of_two() && LOG_RING_BYTES >= 64 << 20);
const _: () = assert!(LOG_RING_BYTES_MIN.is_power_of_two() && LOG_RING_BYTES_MIN >= 16 << 20);
const _: () = assert!(LOG_RING_WORKER_BYTES >= 4 * 2 * LOG_RECORD_MAX as u64);
const _: () = assert!(LOG_COMMIT_HEADER.is_multiple_of(8));
const _: () = assert!(LOG_FRAGMENT_BYTES + 64 <= LOG_RECORD_MAX);
const _: () = assert!(2 * LOG_RECORD_MAX as u64 <= LOG_CHUNK_BYTES);
const _: () = assert!(REPLY_SPARE_BYTES < REPLY_BUFFER_KEPT);
