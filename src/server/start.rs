//! Starts the server, waits for its end, and ends it in order.
//!
//! The main thread only waits: for signals, and for SHUTDOWN. Workers own everything else.

use super::banner::{self, Facts};
use super::error::StartError;
use super::listen::{self, Listening};
use super::logging::Logging;
use crate::commands::{Identity, Node, NodeHub, random_seed};
use crate::config::threads::{self, Machine, Workers};
use crate::config::{Config, ConfigError};
use crate::net::{Hub, HubOptions, run_worker};
use crate::sys::epoll::{Epoll, Events, Interest};
use crate::sys::process::{self, ServiceState};
use crate::sys::signal::{Signal, Signals};
use crate::sys::{affinity, clock, signal};
use std::sync::atomic::Ordering::SeqCst;

/// Descriptors that are needed beside those of clients.
const DESCRIPTORS_RESERVED: u64 = 64;

const TOKEN_SIGNAL: u64 = 1;
const TOKEN_SHUTDOWN: u64 = 2;

/// Runs a server until it is told to end.
pub fn run(config: Config, logging: &Logging) -> Result<(), StartError> {
    let signals = Signals::block()?;
    signal::ignore_sigpipe()?;
    let workers = choose_workers(&config);
    let descriptors = raise_descriptor_limit(&config);
    let listening = listen::open(&config)?;
    let identity = identify(&config);
    let busy_poll_us = config.hot.busy_poll_us();
    let node = Node::new(config, identity, workers.count)?;
    let hub = Hub::new(node, HubOptions { workers: workers.count, busy_poll_us })?;
    show_banner(&hub.service.config, workers, descriptors, &listening);
    serve(&hub, &listening, &signals, logging)?;
    if let Some(path) = &listening.unix_path {
        // Someone may have removed it already.
        let _ = std::fs::remove_file(path);
    }
    tracing::info!("bye");
    Ok(())
}

/// Runs the workers until the end.
fn serve(
    hub: &NodeHub,
    listening: &Listening,
    signals: &Signals,
    logging: &Logging,
) -> Result<(), StartError> {
    let cpus = affinity::available_cpus();
    let count = hub.options().workers;
    std::thread::scope(|scope| {
        for index in 0..count {
            // With more workers than processors a pinned one would wait for its own processor
            // while another is free.
            let cpu = (count <= cpus.len()).then(|| cpus[index]);
            let name = format!("worker-{index}");
            let body = move || {
                if let Some(cpu) = cpu
                    && let Err(error) = affinity::pin_current_thread(cpu)
                {
                    tracing::warn!(%error, "this worker is not pinned");
                }
                run_worker(hub, index, &listening.listeners);
            };
            std::thread::Builder::new().name(name).spawn_scoped(scope, body)?;
        }
        tracing::info!("ready to accept connections");
        tell_manager(ServiceState::Ready);
        let waited = wait_for_end(hub, signals, logging);
        tell_manager(ServiceState::Stopping);
        hub.stop();
        waited
    })
}

/// Handles signals until one of them, or SHUTDOWN, ends the server.
fn wait_for_end(hub: &NodeHub, signals: &Signals, logging: &Logging) -> Result<(), StartError> {
    let epoll = Epoll::new()?;
    epoll.add(signals, TOKEN_SIGNAL, Interest::READABLE)?;
    epoll.add(&hub.service.shutdown.bell, TOKEN_SHUTDOWN, Interest::READABLE)?;
    let mut events = Events::with_capacity(4);
    loop {
        epoll.wait(&mut events, None)?;
        while let Some(signal) = signals.read()? {
            match signal {
                Signal::Terminate | Signal::Interrupt => {
                    tracing::info!(?signal, "ending");
                    // A second one ends the process at once.
                    signals.let_ends_through()?;
                    return Ok(());
                }
                Signal::Hangup => reload(&hub.service.config),
                Signal::User1 => {
                    if let Err(error) = logging.reopen() {
                        tracing::error!(%error, "the log file was not opened again");
                    }
                }
            }
        }
        if hub.service.shutdown.requested.load(SeqCst) {
            tracing::info!("ending: SHUTDOWN was called");
            return Ok(());
        }
    }
}

/// Reads the configuration file again.
fn reload(config: &Config) {
    tell_manager(ServiceState::Reloading);
    match config.reload() {
        Ok(reloaded) => {
            for change in &reloaded.changed {
                tracing::info!(?change, "configuration changed");
            }
            for change in &reloaded.ignored {
                tracing::warn!(?change, "needs a restart to take effect");
            }
        }
        Err(ConfigError::NoFile) => tracing::warn!("nothing to reload: there is no config file"),
        Err(error) => tracing::error!(%error, "the configuration file was refused as a whole"),
    }
    tell_manager(ServiceState::Ready);
}

fn tell_manager(state: ServiceState<'_>) {
    if let Err(error) = process::notify_service_manager(state) {
        tracing::warn!(%error, "the service manager was not told");
    }
}

fn choose_workers(config: &Config) -> Workers {
    let machine = Machine {
        affinity_cpus: affinity::available_cpus().len(),
        quota_cpus: affinity::cgroup_cpu_quota(),
    };
    threads::resolve(config.values().count("threads") as usize, machine)
}

/// Says what was chosen, and what is wrong with it.
fn show_banner(config: &Config, workers: Workers, descriptors: u64, listening: &Listening) {
    let values = config.values();
    let text = |name: &str| String::from_utf8_lossy(values.text(name)).into_owned();
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: process::pid(),
        node: text("node"),
        config_file: config.file().map(|path| path.display().to_string()),
        addresses: listening.addresses.clone(),
        unixsocket: listening.unix_path.as_ref().map(|path| path.display().to_string()),
        workers,
        cpus: affinity::available_cpus().len(),
        maxmemory: config.hot.maxmemory(),
        maxmemory_policy: config.hot.maxmemory_policy().name(),
        memory_total: process::memory_total_bytes(),
        directory: text("dir"),
        protected_mode: config.hot.protected_mode(),
        has_password: config.hot.requirepass_is_set(),
        clients_wanted: config.hot.maxclients(),
        clients_possible: descriptors.saturating_sub(DESCRIPTORS_RESERVED),
        backlog: values.count("tcp-backlog"),
        somaxconn: kernel_number("net/core/somaxconn"),
        overcommit_memory: kernel_number("vm/overcommit_memory"),
    };
    for line in banner::lines(&facts) {
        tracing::info!("{line}");
    }
    for warning in banner::warnings(&facts) {
        tracing::warn!("{warning}");
    }
}

/// A number under /proc/sys.
fn kernel_number(name: &str) -> Option<u64> {
    std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

/// Makes room for all clients; the descriptors there are.
fn raise_descriptor_limit(config: &Config) -> u64 {
    let wanted = config.hot.maxclients() + DESCRIPTORS_RESERVED;
    match process::raise_fd_limit(wanted) {
        Ok(reached) => reached,
        Err(error) => {
            tracing::warn!(%error, "the descriptor limit stays as it is");
            0
        }
    }
}

fn identify(config: &Config) -> Identity {
    let mut run_id = String::with_capacity(48);
    while run_id.len() < 40 {
        run_id.push_str(&format!("{:016x}", random_seed()));
    }
    run_id.truncate(40);
    let path = std::env::current_exe().map(|path| path.display().to_string());
    Identity {
        run_id,
        started_ms: clock::wall_ms(),
        executable: path.unwrap_or_default(),
        config_file: config.file().map(|path| path.display().to_string()).unwrap_or_default(),
        port: config.values().count("port") as u16,
    }
}
