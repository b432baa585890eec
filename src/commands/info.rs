//! INFO: everything countable about the server, in Redis' sections and field names, and our own
//! fields under `# Dse`.

use super::command_stats::{Calls, Place};
use super::latency;
use super::node::{Node, NodeHub};
use super::session::Cx;
use super::table::{Command, Keys, Outcome, Run, flags::*, row};
use crate::config::sizes::format_memory;
use crate::engine::Count;
use crate::limits::DATABASES;
use crate::resp::{Args, Reply};
use crate::sync::reclaim;
use crate::sys::{clock, process};
use std::fmt::Write;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

/// The row of INFO.
pub const ROW: Command =
    row("info", -1, Keys::NONE, LOADING | STALE, super::table::acl::DANGEROUS, Run::Session(info))
        .doc("1.0.0", "Returns information and statistics about the server.");

type Section = (&'static str, fn(&View<'_>, &mut String), bool);

/// Name, writer, and whether the section is part of the default answer.
const SECTIONS: &[Section] = &[
    ("server", server, true),
    ("clients", clients, true),
    ("memory", memory, true),
    ("persistence", super::persistence::info, true),
    ("stats", stats, true),
    ("replication", replication, true),
    ("cpu", cpu, true),
    ("modules", modules, true),
    ("commandstats", commandstats, false),
    ("errorstats", errorstats, true),
    ("latencystats", latencystats, false),
    ("cluster", cluster, true),
    ("keyspace", keyspace, true),
    ("dse", dse, true),
];

pub(super) struct View<'a> {
    pub(super) node: &'a Node,
    pub(super) hub: &'a NodeHub,
    now_ms: u64,
}

macro_rules! line {
    ($out:expr, $($format:tt)*) => {{
        // Writing to a String cannot fail.
        let _ = write!($out, $($format)*);
        $out.push_str("\r\n");
    }};
}

/// INFO [section ...]
fn info(cx: &mut Cx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let view = View { node: cx.node(), hub: cx.hub, now_ms: cx.now_ms };
    let wanted: Vec<Vec<u8>> = args.iter_from(1).map(<[u8]>::to_ascii_lowercase).collect();
    let has = |name: &str| wanted.iter().any(|word| word == name.as_bytes());
    let all = has("all") || has("everything");
    let default = wanted.is_empty() || has("default");
    let mut text = String::new();
    for (name, write_section, in_default) in SECTIONS {
        if !(all || has(name) || default && *in_default) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        line!(text, "# {}", title(name));
        write_section(&view, &mut text);
    }
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn title(name: &str) -> String {
    match name {
        "cpu" => "CPU".into(),
        _ => name[..1].to_ascii_uppercase() + &name[1..],
    }
}

fn server(view: &View<'_>, out: &mut String) {
    let identity = &view.node.identity;
    let system = process::system_name();
    let uptime_s = view.now_ms.saturating_sub(identity.started_ms) / 1000;
    line!(out, "redis_version:{}", super::REDIS_VERSION);
    line!(out, "server_name:dse");
    line!(out, "dse_version:{}", env!("CARGO_PKG_VERSION"));
    line!(out, "redis_git_sha1:00000000");
    line!(out, "redis_git_dirty:0");
    line!(out, "redis_build_id:0");
    let is_node = view.node.cluster.get().is_some();
    line!(out, "redis_mode:{}", if is_node { "cluster" } else { "standalone" });
    line!(out, "os:{} {} {}", system.system, system.release, system.machine);
    line!(out, "arch_bits:{}", usize::BITS);
    line!(out, "monotonic_clock:POSIX clock_gettime");
    line!(out, "multiplexing_api:epoll");
    line!(out, "atomicvar_api:rust");
    line!(out, "gcc_version:0.0.0");
    line!(out, "process_id:{}", process::pid());
    line!(out, "process_supervised:no");
    line!(out, "run_id:{}", identity.run_id);
    line!(out, "tcp_port:{}", view.node.config.values().count("port"));
    line!(out, "server_time_usec:{}", view.node.engine.clock.now_us());
    line!(out, "uptime_in_seconds:{uptime_s}");
    line!(out, "uptime_in_days:{}", uptime_s / 86_400);
    line!(out, "hz:{}", view.node.config.hot.hz());
    line!(out, "configured_hz:{}", view.node.config.hot.hz());
    line!(out, "lru_clock:{}", (view.now_ms / 1000) & 0xFF_FFFF);
    line!(out, "executable:{}", identity.executable);
    line!(out, "config_file:{}", identity.config_file);
    line!(out, "io_threads_active:0");
}

fn clients(view: &View<'_>, out: &mut String) {
    let (mut input_max, mut output_max, mut listeners) = (0, 0, 0);
    view.hub.for_each(|_, card| {
        input_max = input_max.max(card.query_bytes.load(Relaxed));
        output_max = output_max.max(card.unsent_bytes());
        listeners += (card.channels.load(Relaxed) + card.patterns.load(Relaxed) > 0) as u64;
    });
    line!(out, "connected_clients:{}", view.hub.open_count());
    line!(out, "cluster_connections:0");
    line!(out, "maxclients:{}", view.node.config.hot.maxclients());
    line!(out, "client_recent_max_input_buffer:{input_max}");
    line!(out, "client_recent_max_output_buffer:{output_max}");
    line!(out, "blocked_clients:0");
    line!(out, "tracking_clients:0");
    line!(out, "pubsub_clients:{listeners}");
    line!(out, "clients_in_timeout_table:0");
}

fn memory(view: &View<'_>, out: &mut String) {
    let node = view.node;
    let data = node.engine.store.memory_bytes();
    let clients = node.clients_bytes(view.hub);
    let used = data + clients;
    let rss = process::rss_bytes().unwrap_or(0);
    let peak = node.gauges.memory_peak.load(Relaxed).max(used);
    let limit = node.config.hot.maxmemory();
    let total = process::memory_total_bytes().unwrap_or(0);
    line!(out, "used_memory:{used}");
    line!(out, "used_memory_human:{}", human(used));
    line!(out, "used_memory_rss:{rss}");
    line!(out, "used_memory_rss_human:{}", human(rss));
    line!(out, "used_memory_peak:{peak}");
    line!(out, "used_memory_peak_human:{}", human(peak));
    line!(out, "used_memory_peak_perc:{:.2}%", used as f64 * 100.0 / peak.max(1) as f64);
    line!(out, "used_memory_overhead:{clients}");
    line!(out, "used_memory_startup:0");
    line!(out, "used_memory_dataset:{data}");
    line!(out, "used_memory_dataset_perc:{:.2}%", data as f64 * 100.0 / used.max(1) as f64);
    line!(out, "total_system_memory:{total}");
    line!(out, "total_system_memory_human:{}", human(total));
    line!(out, "used_memory_lua:0");
    line!(out, "used_memory_scripts:0");
    line!(out, "number_of_cached_scripts:0");
    line!(out, "maxmemory:{limit}");
    line!(out, "maxmemory_human:{}", human(limit));
    line!(out, "maxmemory_policy:{}", node.config.hot.maxmemory_policy().name());
    line!(out, "mem_fragmentation_ratio:{:.2}", rss as f64 / used.max(1) as f64);
    line!(out, "mem_fragmentation_bytes:{}", rss as i64 - used as i64);
    let (beside, counted) = node.room.beside(limit);
    line!(out, "mem_not_counted_for_evict:{}", beside - counted);
    line!(out, "mem_clients_slaves:0");
    line!(out, "mem_clients_normal:{clients}");
    line!(out, "mem_aof_buffer:0");
    line!(out, "mem_allocator:{}", if cfg!(feature = "mimalloc") { "mimalloc" } else { "libc" });
    line!(out, "active_defrag_running:0");
    line!(out, "lazyfree_pending_objects:0");
    line!(out, "lazyfreed_objects:0");
}

/// As Redis shows sizes to people: `1.50M`.
fn human(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes}B"),
        _ => format!("{value:.2}{}", units[unit]),
    }
}

fn stats(view: &View<'_>, out: &mut String) {
    let node = view.node;
    let sum = |count: fn(&super::node::WorkerStats) -> &Count| node.total(count);
    let (input, output) = (sum(|stats| &stats.input_bytes), sum(|stats| &stats.output_bytes));
    let (channels, patterns, shard_channels) = node.pubsub.counts();
    line!(out, "total_connections_received:{}", view.hub.accepted_count());
    line!(out, "total_commands_processed:{}", sum(|stats| &stats.commands));
    line!(out, "instantaneous_ops_per_sec:{}", node.gauges.ops_per_s.load(Relaxed));
    line!(out, "total_net_input_bytes:{input}");
    line!(out, "total_net_output_bytes:{output}");
    line!(out, "total_net_repl_input_bytes:0");
    line!(out, "total_net_repl_output_bytes:0");
    let per_s = |gauge: &std::sync::atomic::AtomicU64| gauge.load(Relaxed) as f64 / 1024.0;
    line!(out, "instantaneous_input_kbps:{:.2}", per_s(&node.gauges.input_per_s));
    line!(out, "instantaneous_output_kbps:{:.2}", per_s(&node.gauges.output_per_s));
    line!(out, "rejected_connections:{}", view.hub.refused_count());
    line!(out, "sync_full:0");
    line!(out, "sync_partial_ok:0");
    line!(out, "sync_partial_err:0");
    line!(out, "expired_keys:{}", sum(|stats| &stats.tally.expired));
    line!(out, "expired_stale_perc:0.00");
    line!(out, "expired_time_cap_reached_count:0");
    line!(out, "evicted_keys:{}", sum(|stats| &stats.tally.evicted));
    line!(out, "evicted_clients:0");
    let (in_all, current) = node.room.exceeded_ms(node.now_ms_hint());
    line!(out, "total_eviction_exceeded_time:{in_all}");
    line!(out, "current_eviction_exceeded_time:{current}");
    line!(out, "keyspace_hits:{}", sum(|stats| &stats.tally.hits));
    line!(out, "keyspace_misses:{}", sum(|stats| &stats.tally.misses));
    line!(out, "pubsub_channels:{channels}");
    line!(out, "pubsub_patterns:{patterns}");
    line!(out, "pubsubshard_channels:{shard_channels}");
    line!(out, "latest_fork_usec:0");
    line!(out, "total_forks:0");
    line!(out, "migrate_cached_sockets:0");
    line!(out, "tracking_total_keys:0");
    line!(out, "tracking_total_items:0");
    line!(out, "unexpected_error_replies:0");
    line!(out, "total_error_replies:{}", sum(|stats| &stats.error_replies));
    line!(out, "total_reads_processed:{}", sum(|stats| &stats.reads));
    line!(out, "total_writes_processed:{}", sum(|stats| &stats.writes));
}

fn replication(view: &View<'_>, out: &mut String) {
    line!(out, "role:master");
    line!(out, "connected_slaves:0");
    line!(out, "master_failover_state:no-failover");
    line!(out, "master_replid:{}", view.node.identity.run_id);
    line!(out, "master_replid2:0000000000000000000000000000000000000000");
    line!(out, "master_repl_offset:0");
    line!(out, "second_repl_offset:-1");
    line!(out, "repl_backlog_active:0");
    line!(out, "repl_backlog_size:0");
    line!(out, "repl_backlog_first_byte_offset:0");
    line!(out, "repl_backlog_histlen:0");
}

fn cpu(_view: &View<'_>, out: &mut String) {
    let seconds = |us: u64| us as f64 / 1e6;
    let (own, children) = (clock::process_cpu(), clock::children_cpu());
    line!(out, "used_cpu_sys:{:.6}", seconds(own.system_us));
    line!(out, "used_cpu_user:{:.6}", seconds(own.user_us));
    line!(out, "used_cpu_sys_children:{:.6}", seconds(children.system_us));
    line!(out, "used_cpu_user_children:{:.6}", seconds(children.user_us));
}

fn modules(_view: &View<'_>, _out: &mut String) {}

fn commandstats(view: &View<'_>, out: &mut String) {
    for place in Place::all() {
        let sum = |count: fn(&Calls) -> &Count| {
            view.node.total(|stats| count(stats.by_command.of(place)))
        };
        let (calls, us) = (sum(|c| &c.calls), sum(|c| &c.time_ns) / 1000);
        let (rejected, failed) = (sum(|c| &c.rejected), sum(|c| &c.failed));
        if calls + rejected + failed > 0 {
            let per_call = us as f64 / calls.max(1) as f64;
            line!(
                out,
                "cmdstat_{}:calls={calls},usec={us},usec_per_call={per_call:.2},\
                 rejected_calls={rejected},failed_calls={failed}",
                place.name()
            );
        }
    }
}

fn errorstats(view: &View<'_>, out: &mut String) {
    for (code, count) in view.node.errors.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        line!(out, "errorstat_{code}:count={count}");
    }
}

fn latencystats(view: &View<'_>, out: &mut String) {
    let values = view.node.config.values();
    for place in Place::all() {
        let histogram = latency::merged(view.node, place);
        if histogram.is_empty() {
            continue;
        }
        let shown: Vec<String> = values
            .percentiles()
            .iter()
            .map(|percentile| {
                let us = histogram.value_at_quantile(percentile / 100.0) as f64 / 1000.0;
                format!("p{percentile}={us:.3}")
            })
            .collect();
        line!(out, "latency_percentiles_usec_{}:{}", place.name(), shown.join(","));
    }
}

fn cluster(view: &View<'_>, out: &mut String) {
    line!(out, "cluster_enabled:{}", u8::from(view.node.cluster.get().is_some()));
    if let Some(gateway) = view.node.cluster.get() {
        out.push_str(&super::cluster::report::info_lines(gateway));
    }
}

fn keyspace(view: &View<'_>, out: &mut String) {
    let store = &view.node.engine.store;
    for db in 0..DATABASES as u8 {
        let keys = store.len(db);
        if keys > 0 {
            let expires = store.len_with_deadline(db);
            line!(out, "db{db}:keys={keys},expires={expires},avg_ttl=0");
        }
    }
}

fn dse(view: &View<'_>, out: &mut String) {
    let node = view.node;
    line!(out, "dse_workers:{}", view.hub.options().workers);
    line!(out, "dse_ready_connections:{}", view.hub.ready_count());
    line!(out, "dse_limbo_bytes:{}", reclaim::limbo_bytes());
    line!(out, "dse_store_bytes:{}", node.engine.store.memory_bytes());
    line!(out, "dse_store_human:{}", format_memory(node.engine.store.memory_bytes()));
    let slabs = node.engine.store.slab_usage();
    line!(out, "dse_slab_used_bytes:{}", slabs.out_bytes);
    line!(out, "dse_slab_slack_bytes:{}", slabs.slack_bytes);
    line!(out, "dse_clock_gap_ms:{}", node.engine.clock.gap_ns() / 1_000_000);
    line!(out, "dse_slowlog_len:{}", node.slowlog.len());
}
