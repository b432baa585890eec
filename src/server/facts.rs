//! Collects what the banner is made from.

use std::fs;

use super::banner::Facts;
use super::listen::Listening;
use crate::config::threads::Workers;
use crate::config::{Config, Values};
use crate::sys::{affinity, process};

/// The facts of a server that listens on `listening`, has so many `workers`, and descriptors for
/// `clients_possible` clients.
pub fn collect(
    config: &Config,
    listening: &Listening,
    workers: Workers,
    clients_possible: u64,
) -> Facts {
    let values = config.values();
    let lossy = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    Facts {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: process::pid(),
        node: lossy(values.text("node")),
        config_file: config.file().map(|path| path.display().to_string()),
        addresses: listening.addresses.clone(),
        unixsocket: listening.unix_path.as_ref().map(|path| path.display().to_string()),
        workers,
        cpus: affinity::available_cpus().len(),
        maxmemory: values.bytes("maxmemory"),
        maxmemory_policy: values.choice("maxmemory-policy"),
        memory_total: process::memory_total_bytes(),
        directory: lossy(values.text("dir")),
        kept: kept(&values),
        protected_mode: values.flag("protected-mode"),
        has_password: !values.text("requirepass").is_empty(),
        clients_wanted: config.hot.maxclients_wanted(),
        clients_possible,
        backlog: values.count("tcp-backlog"),
        somaxconn: kernel_number("/proc/sys/net/core/somaxconn"),
        overcommit_memory: kernel_number("/proc/sys/vm/overcommit_memory"),
    }
}

fn kernel_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// What the server keeps on disk.
fn kept(values: &Values) -> String {
    let log = match values.flag("appendonly") {
        true => format!("a log (appendfsync {})", values.choice("appendfsync")),
        false => "no log (appendonly no)".into(),
    };
    let rules = values.save_rules().iter();
    let rules: Vec<String> =
        rules.map(|rule| format!("{} {}", rule.seconds, rule.changes)).collect();
    match rules.is_empty() {
        true => format!("{log}, no snapshots by themselves"),
        false => format!("{log}, snapshots ({})", rules.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::threads::Cause;

    #[test]
    fn the_facts_of_this_machine_make_a_banner() {
        let config = Config::new();
        let addresses = vec!["127.0.0.1:6379".parse().unwrap()];
        let listening = Listening { listeners: Vec::new(), addresses, unix_path: None };
        let workers = Workers { count: 1, cause: Cause::Configured };
        let facts = collect(&config, &listening, workers, 10_000);
        assert!(facts.cpus >= 1);
        assert!(facts.memory_total.is_some_and(|bytes| bytes > 1 << 20));
        assert!(facts.somaxconn.is_some());
        assert!(facts.directory.starts_with('/'));
        assert_eq!(super::super::banner::lines(&facts).len(), 8);
    }
}
