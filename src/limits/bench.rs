//! Bounds of `dse-bench`.

/// Connections that `dse-bench` opens at most.
pub const BENCH_CLIENTS_MAX: usize = 100_000;
/// Requests that a connection of `dse-bench` has under way at most.
pub const BENCH_PIPELINE_MAX: usize = 100_000;
/// Bytes that `dse-bench` renders for one send, unless a single request is longer.
pub const BENCH_SEND_BYTES: usize = 64 * 1024;
/// Bytes that `dse-bench` receives at once.
pub const BENCH_RECEIVE_BYTES: usize = 256 * 1024;
/// Keys that a connection of `dse-bench` writes at once before replies are verified.
pub const BENCH_FILL_BATCH: u64 = 64;
/// Bytes of a line of a reply; `dse-bench` takes a longer one for no reply.
pub const BENCH_REPLY_LINE_MAX: usize = 64 * 1024;
/// Bytes of a reply to a question of `dse-bench`; a longer one is an error.
pub const BENCH_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Levels of lists in a reply to a question of `dse-bench`; more are an error.
pub const BENCH_ANSWER_DEPTH_MAX: usize = 32;
/// Bad clients of `dse-bench clients --abuse`: those that read slowly, not at all, and those that
/// begin a request and leave it there.
pub const BENCH_ABUSE_SLOW_READERS: usize = 50;
/// See `BENCH_ABUSE_SLOW_READERS`.
pub const BENCH_ABUSE_UNREAD: usize = 50;
/// See `BENCH_ABUSE_SLOW_READERS`.
pub const BENCH_ABUSE_HALF_SENT: usize = 200;
/// Bytes of requests that a bad client of `dse-bench` sends at most.
pub const BENCH_ABUSE_REQUEST_BYTES: usize = 17 * 1024 * 1024;
/// Bytes of the value that bad clients of `dse-bench` ask for again and again.
pub const BENCH_ABUSE_VALUE_BYTES: usize = 1024;
/// Bytes that a slow reader of `dse-bench` takes at once.
pub const BENCH_ABUSE_SIP_BYTES: usize = 4096;
/// Requests under way on the connection of `dse-bench clients --heavy`.
pub const BENCH_HEAVY_PIPELINE: usize = 1000;
/// Runs of one report of `dse-bench`; a sweep of more is refused.
pub const BENCH_RUNS_MAX: usize = 100_000;

const _: () = assert!(BENCH_SEND_BYTES < BENCH_ABUSE_REQUEST_BYTES);
