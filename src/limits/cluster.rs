//! Bounds of a cluster's node: requests on their way, its log, its links.

use super::{BATCH_COMMANDS, CLUSTER_GROUPS, CLUSTER_REPLICAS, GROUP_MESSAGE_BYTES};

/// Bytes of a request, or of a transaction, that a cluster takes.
pub const CLUSTER_REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Microseconds that a request waits for a leader to be found before it is refused.
pub const CLUSTER_PARK_US: u64 = 1_500_000;
/// Milliseconds that clients wait at the door of a node that starts.
pub const CLUSTER_DOOR_MS: u64 = 2000;
/// Milliseconds after which it looks again whether it can serve them.
pub const CLUSTER_DOOR_STEP_MS: u64 = 5;
/// Microseconds between two tries of a request that waits.
pub const CLUSTER_RETRY_US: u64 = 50_000;
/// Microseconds after which a request that is under way is given up: a write is uncertain then.
pub const CLUSTER_REPLY_US: u64 = 10_000_000;
/// Microseconds without an entry after which log time is told, where keys have deadlines.
pub const CLUSTER_CLOCK_US: u64 = 100_000;
/// Bytes of entries after which a group is cut, if its state is not more than twice as long.
pub const CLUSTER_CUT_BYTES_MIN: usize = 2 * 1024 * 1024;
/// Bytes of the newest entries that a group keeps behind a cut, for replicas that lag.
pub const CLUSTER_KEPT_BYTES: usize = 1024 * 1024;
/// The newest entries that a group keeps behind a cut at most.
pub const CLUSTER_KEPT_ENTRIES: usize = 8192;
/// Microseconds that a node takes at its end to hand over what it leads.
pub const CLUSTER_HAND_OVER_US: u64 = 2_000_000;
/// Microseconds after which a record that is not durable shows that the disk is too slow to lead.
pub const CLUSTER_SLOW_US: u64 = 1_000_000;
/// Bytes of the log between two records whose places a node remembers.
pub const CLUSTER_PLACE_BYTES: u64 = 1024 * 1024;
/// Bytes of a node's log after which it states everything anew and lets go of what is in front, if
/// the states of its groups are not longer than a quarter of that.
pub const CLUSTER_LOG_BYTES: u64 = 256 * 1024 * 1024;
/// Events that the driver of a node takes at once.
pub const CLUSTER_EVENTS: usize = 64;
/// Microseconds that a connection between nodes may take to prove who it is.
pub const PEER_HANDSHAKE_US: u64 = 3_000_000;
/// Microseconds between two heartbeats on a connection between nodes.
pub const PEER_HEARTBEAT_US: u64 = 1_000_000;
/// Microseconds of silence after which a connection between nodes is closed.
pub const PEER_SILENT_US: u64 = 3_000_000;
/// Connections to the peer port that have not proved who they are; more are closed.
pub const PEER_STRANGERS_MAX: usize = 32;
/// Connections that are accepted at once.
pub const PEER_ACCEPTS: usize = 8;
/// Microseconds until a node that is not reached is tried again, at first.
pub const PEER_RETRY_US_MIN: u64 = 50_000;
/// Microseconds until a node that is not reached is tried again, in the end.
pub const PEER_RETRY_US_MAX: u64 = 1_000_000;
/// Bytes that are received from a peer at once.
pub const PEER_READ_BYTES: usize = 256 * 1024;
/// Bytes of frames that are made for a peer ahead of its socket.
pub const PEER_WRITE_BYTES: usize = 256 * 1024;
/// Bytes of messages that wait for a peer; more are dropped.
pub const PEER_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of a part of a message between nodes: how long what is urgent waits behind what is long.
pub const PEER_PART_BYTES_MAX: usize = 128 * 1024;
/// Bytes of a message between nodes; a longer one is refused, and its connection closed.
pub const PEER_MESSAGE_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Microseconds between two steps of making a node's log shorter: the first is durable by then.
pub const CLUSTER_SHORTEN_US: u64 = 200_000;
/// Bytes of states that such a step cuts, or one group.
pub const CLUSTER_SHORTEN_BYTES: usize = 8 * 1024 * 1024;
/// Microseconds between two looks at how far replicas are, for INFO.
pub const CLUSTER_STATUS_US: u64 = 1_000_000;
/// Microseconds between two lines in the log on how far a node is with being filled again.
pub const CLUSTER_REFILL_TOLD_US: u64 = 10_000_000;

/// The largest index, term, id or version that a peer or a file may name: more than is ever
/// reached, and far from where a sum of two would overflow. What is larger cannot be read.
pub const CLUSTER_NUMBER_MAX: u64 = 1 << 60;
/// The largest of these that a peer may bring in: what is counted on from there can be read again.
pub const CLUSTER_PEER_NUMBER_MAX: u64 = CLUSTER_NUMBER_MAX / 2;
/// The latest log time, in microseconds since 1970: in the year 2255. What is later is refused.
pub const CLUSTER_TIME_US_MAX: u64 = 1 << 53;
/// Nodes of a cluster; a table, or a list of a node, that names more cannot be read.
pub const CLUSTER_NODES_MAX: usize = 64;
/// Bytes of a node's name; a longer one is refused.
pub const CLUSTER_NAME_BYTES_MAX: usize = 128;
/// Bytes of the name of a node's machine; a longer one is refused.
pub const CLUSTER_HOST_BYTES_MAX: usize = 255;
/// Replicas in each list of a group's configuration; a longer one is refused.
pub const GROUP_MEMBERS_MAX: usize = 16;
/// Replicas of one group that are to leave it; while there are as many no further one is replaced.
pub const GROUP_LEAVING_MAX: usize = 8;
/// Entries of one message between replicas: more than fit into what a leader sends at once.
pub const GROUP_MESSAGE_ENTRIES_MAX: usize = 32_768;
/// Requests of one message between nodes; a message with more cannot be read.
pub const PEER_REQUESTS_MAX: usize = 1024;
/// Heartbeats of groups in one message between nodes; a message with more cannot be read.
pub const PEER_BEATS_MAX: usize = 256;
/// Messages with requests of other nodes that are not answered; more are refused, with proof.
pub const PEER_LANES_MAX: usize = 65_536;
/// Bytes of requests of other nodes that are not answered; more are refused, with proof.
pub const PEER_LANE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Receives from one peer before others have their turn.
pub const PEER_READS_MAX: usize = 16;
/// Microseconds for which a peer is not let in again that sent what no node sends.
pub const PEER_BARRED_US: u64 = 5_000_000;

// An entry takes twelve bytes at least where the library counts what it sends at once.
const _: () = assert!(GROUP_MESSAGE_ENTRIES_MAX as u64 > GROUP_MESSAGE_BYTES / 12 + 1);
const _: () = assert!(PEER_REQUESTS_MAX >= BATCH_COMMANDS);
// All groups of a node fit.
const _: () = assert!(PEER_BEATS_MAX > CLUSTER_GROUPS);
const _: () = assert!(GROUP_MEMBERS_MAX > CLUSTER_REPLICAS + GROUP_LEAVING_MAX);
