//! The machine that a measurement was made on, and when.

use super::client::target::Target;
use super::report::document::{Machine, Server};
use crate::sys::{affinity, process};
use std::fs;
use std::time::SystemTime;

/// This machine.
pub fn describe() -> Machine {
    let name = process::system_name();
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(':')).map(|(_, model)| model.trim());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_ascii_whitespace().take(3).collect();
    Machine {
        host: process::hostname(),
        system: format!("{} {} {}", name.system, name.release, name.machine),
        processor: model.unwrap_or("unknown processor").to_owned(),
        processors: affinity::available_cpus().len(),
        memory_bytes: process::memory_total_bytes().unwrap_or(0),
        load_average: load.join(" "),
    }
}

/// What a server says it is; it need not say anything.
pub fn server(target: &Target, pids: Vec<u32>) -> Server {
    let info = target.open().and_then(|mut session| session.ask(&["INFO", "server"]));
    let info = info.ok().and_then(|info| info.text()).unwrap_or_default();
    let field = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let own = ["dse_version", "valkey_version"].iter().find_map(|name| {
        field(name).map(|version| format!("{} {version}", name.trim_end_matches("_version")))
    });
    let redis = || field("redis_version").map(|version| format!("redis {version}"));
    let version = own.or_else(redis).unwrap_or_else(|| "unknown version".into());
    Server { name: target.name.clone(), address: target.address(), version, pids }
}

/// The time, in UTC.
pub fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
