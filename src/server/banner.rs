//! The lines that the server prints when it starts: what was chosen and why, and what is
//! wrong with the machine or the configuration, with its cure.
//!
//! Pure: facts in, lines out. Whoever starts the server collects the facts.

use std::net::SocketAddr;

use crate::config::sizes::format_memory;
use crate::config::threads::{Cause, Workers};

/// What the banner is made from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Name of the node.
    pub node: String,
    /// The configuration file; `None` when there is none.
    pub config_file: Option<String>,
    /// TCP addresses that are listened on.
    pub addresses: Vec<SocketAddr>,
    /// The unix socket that is listened on.
    pub unixsocket: Option<String>,
    /// Workers and the reason for their number.
    pub workers: Workers,
    /// Processors that the process may use.
    pub cpus: usize,
    /// Memory limit in bytes; 0 for none.
    pub maxmemory: u64,
    /// What happens at the limit.
    pub maxmemory_policy: &'static str,
    /// Memory of the machine, or of the control group if that is less.
    pub memory_total: Option<u64>,
    /// The directory of the data.
    pub directory: String,
    /// What is kept there.
    pub kept: String,
    /// `protected-mode`.
    pub protected_mode: bool,
    /// True when `requirepass` is set.
    pub has_password: bool,
    /// `maxclients` as configured.
    pub clients_wanted: u64,
    /// How many of them the limit of open files allows.
    pub clients_possible: u64,
    /// `tcp-backlog`.
    pub backlog: u64,
    /// net.core.somaxconn, which caps the backlog.
    pub somaxconn: Option<u64>,
    /// vm.overcommit_memory.
    pub overcommit_memory: Option<u64>,
}

impl Facts {
    fn is_public(&self) -> bool {
        self.addresses.iter().any(|address| !address.ip().is_loopback())
    }
}

/// What was chosen, in about eight lines.
pub fn lines(facts: &Facts) -> Vec<String> {
    vec![
        format!("dse {} starts, pid {}", facts.version, facts.pid),
        listening(facts),
        "protocol: RESP2 and RESP3, commands as Redis 7.0".into(),
        format!(
            "workers: {} ({}, {} usable)",
            facts.workers.count,
            facts.workers.cause,
            cpus(facts.cpus)
        ),
        memory(facts),
        format!("data: {}, {}", facts.directory, facts.kept),
        format!(
            "node: {}, configuration: {}",
            facts.node,
            facts.config_file.as_deref().unwrap_or("no file, defaults and flags")
        ),
        access(facts),
    ]
}

fn cpus(count: usize) -> String {
    if count == 1 { "1 CPU".into() } else { format!("{count} CPUs") }
}

fn listening(facts: &Facts) -> String {
    let addresses = facts.addresses.iter().map(ToString::to_string);
    let places: Vec<String> = addresses.chain(facts.unixsocket.clone()).collect();
    let clients = facts.clients_wanted.min(facts.clients_possible);
    format!("listening: {}, up to {clients} clients", places.join(", "))
}

fn memory(facts: &Facts) -> String {
    let total = match facts.memory_total {
        Some(bytes) => format!(", {} MiB in the machine", bytes >> 20),
        None => String::new(),
    };
    match facts.maxmemory {
        0 => format!("memory: no limit{total}"),
        limit => format!(
            "memory: at most {}, then {}{total}",
            format_memory(limit),
            facts.maxmemory_policy
        ),
    }
}

fn access(facts: &Facts) -> String {
    let text = match (facts.has_password, facts.protected_mode, facts.is_public()) {
        (true, _, _) => "password required",
        (false, _, false) => "no password; only this machine can connect",
        (false, true, true) => "no password; protected mode refuses other machines",
        (false, false, true) => "no password; everybody can connect",
    };
    format!("access: {text}")
}

/// What should be changed, each with how.
pub fn warnings(facts: &Facts) -> Vec<String> {
    [
        too_few_descriptors(facts),
        no_password(facts),
        too_many_workers(facts),
        short_backlog(facts),
        strict_overcommit(facts),
        too_much_memory(facts),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn too_few_descriptors(facts: &Facts) -> Option<String> {
    let (wanted, possible) = (facts.clients_wanted, facts.clients_possible);
    (possible < wanted).then(|| {
        format!(
            "maxclients {wanted} is lowered to {possible} by the limit of open files; raise it \
             (ulimit -n, LimitNOFILE= of the service) or set maxclients {possible}"
        )
    })
}

fn no_password(facts: &Facts) -> Option<String> {
    if facts.has_password || !facts.is_public() {
        return None;
    }
    Some(match facts.protected_mode {
        false => "everybody who reaches the port can read and change all data; set requirepass, \
                  or bind 127.0.0.1"
            .into(),
        true => "other machines are refused while there is no password; set requirepass to let \
                 them in, or bind 127.0.0.1"
            .into(),
    })
}

fn too_many_workers(facts: &Facts) -> Option<String> {
    let count = facts.workers.count;
    (facts.workers.cause == Cause::Configured && count > facts.cpus).then(|| {
        format!(
            "threads {count} is more than the {} that can be used; set threads {} or leave it auto",
            cpus(facts.cpus),
            facts.cpus
        )
    })
}

fn short_backlog(facts: &Facts) -> Option<String> {
    let somaxconn = facts.somaxconn.filter(|cap| *cap < facts.backlog)?;
    Some(format!(
        "tcp-backlog {} is cut to {somaxconn} by the kernel; sysctl net.core.somaxconn={}",
        facts.backlog, facts.backlog
    ))
}

/// Strict accounting refuses the address space that a large argument reserves in advance.
fn strict_overcommit(facts: &Facts) -> Option<String> {
    (facts.overcommit_memory == Some(2)).then(|| {
        "vm.overcommit_memory is 2, so large values can be refused while memory is free; \
         sysctl vm.overcommit_memory=1"
            .into()
    })
}

fn too_much_memory(facts: &Facts) -> Option<String> {
    let total = facts.memory_total.filter(|total| facts.maxmemory > *total)?;
    Some(format!(
        "maxmemory {} is more than the {} MiB of the machine; set maxmemory {}mb or less",
        format_memory(facts.maxmemory),
        total >> 20,
        (total >> 20) * 3 / 4
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            version: "0.1.0".into(),
            pid: 4711,
            node: "node-1".into(),
            config_file: None,
            addresses: vec!["127.0.0.1:6379".parse().unwrap()],
            unixsocket: Some("/run/dse.sock".into()),
            workers: Workers { count: 2, cause: Cause::Affinity },
            cpus: 2,
            maxmemory: 0,
            maxmemory_policy: "noeviction",
            memory_total: Some(8 << 30),
            directory: "/var/lib/dse".into(),
            kept: "a log (appendfsync always), snapshots (60 1)".into(),
            protected_mode: true,
            has_password: false,
            clients_wanted: 10_000,
            clients_possible: 10_000,
            backlog: 511,
            somaxconn: Some(4096),
            overcommit_memory: Some(0),
        }
    }

    #[test]
    fn the_banner_says_what_was_chosen_and_why() {
        let text = lines(&facts()).join("\n");
        for part in [
            "dse 0.1.0 starts, pid 4711",
            "listening: 127.0.0.1:6379, /run/dse.sock, up to 10000 clients",
            "workers: 2 (one for each CPU of the affinity mask, 2 CPUs usable)",
            "memory: no limit, 8192 MiB in the machine",
            "data: /var/lib/dse, a log (appendfsync always), snapshots (60 1)",
            "node: node-1, configuration: no file",
            "access: no password; only this machine can connect",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert_eq!(lines(&facts()).len(), 8);
    }

    #[test]
    fn a_good_machine_gives_no_warnings() {
        assert_eq!(warnings(&facts()), [""; 0]);
    }

    #[test]
    fn every_warning_names_its_cure() {
        let public: Vec<SocketAddr> = vec!["0.0.0.0:6379".parse().unwrap()];
        for (facts, cure) in [
            (Facts { clients_possible: 992, ..facts() }, "set maxclients 992"),
            (Facts { addresses: public.clone(), ..facts() }, "set requirepass to let them in"),
            (
                Facts { addresses: public, protected_mode: false, ..facts() },
                "everybody who reaches the port can read and change all data; set requirepass",
            ),
            (
                Facts { workers: Workers { count: 8, cause: Cause::Configured }, ..facts() },
                "set threads 2",
            ),
            (Facts { somaxconn: Some(128), ..facts() }, "sysctl net.core.somaxconn=511"),
            (Facts { overcommit_memory: Some(2), ..facts() }, "sysctl vm.overcommit_memory=1"),
            (Facts { maxmemory: 16 << 30, ..facts() }, "set maxmemory 6144mb or less"),
        ] {
            let warnings = warnings(&facts);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].contains(cure), "{warnings:?}");
        }
    }

    #[test]
    fn a_password_opens_the_server_to_others() {
        let addresses = vec!["10.0.0.7:6379".parse().unwrap()];
        let facts = Facts { addresses, has_password: true, ..facts() };
        assert_eq!(warnings(&facts), [""; 0]);
        assert!(lines(&facts)[7].ends_with("password required"));
    }
}
