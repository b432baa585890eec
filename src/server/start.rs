//! Starts the server, waits for its end, and ends it in order.
//!
//! The main thread only waits: for signals, and for SHUTDOWN. Workers own everything else.

use super::banner::{self, Facts};
use super::error::StartError;
use super::listen;
use super::logging::Logging;
use super::pidfile::PidFile;
use super::recovery::{self, DataDirectory};
use super::{descriptors, facts, progress};
use crate::commands::{Identity, Node, NodeHub, random_seed, saving};
use crate::config::threads::{self, Machine, Workers};
use crate::config::{ApplyError, Change, Config, ConfigError};
use crate::net::{Hub, HubOptions, run_worker};
use crate::sys::epoll::{Epoll, Events, Interest};
use crate::sys::process::{self, ServiceState};
use crate::sys::signal::{Signal, Signals};
use crate::sys::{affinity, allocator, clock, signal};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

const TOKEN_SIGNAL: u64 = 1;
const TOKEN_SHUTDOWN: u64 = 2;

/// Runs a server until it is told to end, and says in `log` what it does.
pub(super) fn run(config: Config, log: &Logging) -> Result<(), StartError> {
    let signals = Signals::block()?;
    signal::ignore_sigpipe()?;
    allocator::limit_arena_objects();
    let workers = choose_workers(&config);
    let clients = descriptors::make_room(&config);
    let mut listening = listen::open(&config)?;
    let data = recovery::is_wanted(&config).then(|| DataDirectory::open(&config)).transpose()?;
    let facts = facts::collect(&config, &listening, workers, clients);
    let identity = identify(&config);
    let busy_poll_us = config.hot.busy_poll_us();
    let node = Node::new(config, identity, workers.count)?;
    if data.is_some() {
        node.loading.begin();
    }
    let hub = Arc::new(Hub::new(node, HubOptions { workers: workers.count, busy_poll_us })?);
    hub.change_listeners(|listeners| listeners.append(&mut listening.listeners));
    listen::follow_config(&hub);
    let _pidfile = write_pidfile(&hub.service.config);
    show(&facts);
    serve(&hub, &signals, log, data.as_ref())?;
    if let Some(path) = &listening.unix_path {
        // Someone may have removed it already.
        let _ = std::fs::remove_file(path);
    }
    tracing::info!("bye");
    Ok(())
}

/// The file of `pidfile`, if one is wanted. A server without it is still a server.
fn write_pidfile(config: &Config) -> Option<PidFile> {
    let values = config.values();
    let path = Path::new(OsStr::from_bytes(values.text("pidfile")));
    if path.as_os_str().is_empty() {
        return None;
    }
    let written = PidFile::write(path);
    written
        .inspect_err(|error| tracing::warn!(%error, "pidfile {} is missing", path.display()))
        .ok()
}

/// The banner. It comes before the workers start: from their first moment clients are answered.
fn show(facts: &Facts) {
    for line in banner::lines(facts) {
        tracing::info!("{line}");
    }
    for warning in banner::warnings(facts) {
        tracing::warn!("{warning}");
    }
}

/// Runs the workers until the end.
fn serve(
    hub: &Arc<NodeHub>,
    signals: &Signals,
    log: &Logging,
    data: Option<&DataDirectory>,
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
                run_worker(&**hub, index);
            };
            std::thread::Builder::new().name(name).spawn_scoped(scope, body)?;
        }
        // Clients that come early are told how far the data is loaded.
        let ended = start_data(hub, data).and_then(|()| {
            if let Some(data) = data {
                let disk = Arc::clone(data.disk());
                let body = move || saving::run(hub, &disk);
                std::thread::Builder::new().name("snapshot".into()).spawn_scoped(scope, body)?;
            }
            tracing::info!("ready to accept connections");
            tell_manager(ServiceState::Ready);
            wait_for_end(hub, signals, log)
        });
        tell_manager(ServiceState::Stopping);
        hub.service.saving.stop();
        hub.stop();
        ended
    })?;
    if let Some(data) = data {
        saving::run_last(hub, data.disk());
    }
    if let Some(log) = hub.service.durability.log() {
        log.close();
    }
    Ok(())
}

/// Brings the data back from disk, where it is kept there.
fn start_data(hub: &Arc<NodeHub>, data: Option<&DataDirectory>) -> Result<(), StartError> {
    let node = &hub.service;
    if let Some(data) = data {
        let shown = progress::show(hub);
        data.recover(hub)?;
        drop(shown);
        let weak = Arc::downgrade(hub);
        node.config.on_change(&["appendfsync"], move |config| {
            let hub = weak.upgrade();
            if let Some(log) = hub.as_ref().and_then(|hub| hub.service.durability.log()) {
                log.set_mode(recovery::sync_mode(config));
            }
            Ok(())
        });
    }
    // What is in memory is not in the log while none is kept: to begin one takes a restart (E16).
    let has_log = node.durability.log().is_some();
    node.config.on_change(&["appendonly"], move |config| {
        let wanted = config.values().flag("appendonly");
        if wanted == has_log { Ok(()) } else { Err(ApplyError::Restart) }
    });
    node.loading.end();
    Ok(())
}

/// Handles signals until one of them, or SHUTDOWN, ends the server.
fn wait_for_end(hub: &NodeHub, signals: &Signals, log: &Logging) -> Result<(), StartError> {
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
                Signal::Hangup => {
                    reopen(log);
                    reload(&hub.service.config);
                }
                Signal::User1 => reopen(log),
            }
        }
        if hub.service.shutdown.requested.load(SeqCst) {
            tracing::info!("ending: SHUTDOWN was called");
            return Ok(());
        }
    }
}

/// Leaves a log file that was moved away for a new one.
fn reopen(log: &Logging) {
    if let Err(error) = log.reopen() {
        tracing::warn!(%error, "the log goes on where it was");
    }
}

/// Reads the configuration file again.
fn reload(config: &Config) {
    tell_manager(ServiceState::Reloading);
    match config.reload() {
        Ok(reloaded) => {
            for notice in &reloaded.notices {
                tracing::warn!("{notice}");
            }
            for Change { name, old, new } in &reloaded.changed {
                tracing::info!("reload: {name} changed from '{old}' to '{new}'");
            }
            for Change { name, old, new } in &reloaded.ignored {
                tracing::warn!("reload: {name} stays '{old}', '{new}' needs a restart");
            }
            let changed = reloaded.changed.len();
            tracing::info!("the configuration file was read again, {changed} values changed");
        }
        Err(ConfigError::NoFile) => tracing::warn!("nothing to reload: there is no config file"),
        Err(error) => tracing::error!("the configuration file was refused as a whole: {error}"),
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
    }
}
