//! Starts the server, waits for its end, and ends it in order.
//!
//! The main thread only waits: for signals, and for SHUTDOWN. Workers own everything else.

use super::banner::{self, Facts};
use super::cluster::{self, Plan};
use super::error::StartError;
use super::listen;
use super::logging::Logging;
use super::pidfile::PidFile;
use super::recovery::DataDirectory;
use super::storage::{self, Storage};
use super::{descriptors, facts, progress};
use crate::commands::{Identity, Node, NodeHub, random_seed};
use crate::config::threads::{self, Machine, Workers};
use crate::config::{Change, Config, ConfigError};
use crate::driver::Driver;
use crate::limits::SLICE_NS;
use crate::net::{Hub, HubOptions, Listener, run_worker};
use crate::sys::epoll::{Epoll, Events, Interest};
use crate::sys::eventfd::EventFd;
use crate::sys::process::{self, ServiceState};
use crate::sys::signal::{Signal, Signals};
use crate::sys::{affinity, allocator, clock, signal};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::Scope;

/// What a node of a cluster says of itself at its start.
const CLUSTER_NOTICE: &str = "this is a node of a cluster of fixed members: what that promises, \
    and what it does not do, is in docs/cluster.md";

const TOKEN_SIGNAL: u64 = 1;
const TOKEN_SHUTDOWN: u64 = 2;
const TOKEN_BELL: u64 = 3;

/// Runs a server until it is told to end, and says in `log` what it does.
pub(super) fn run(config: Config, log: &Logging) -> Result<(), StartError> {
    let signals = Signals::block()?;
    signal::ignore_sigpipe()?;
    allocator::limit_arena_objects();
    allocator::allow_huge_pages(false);
    let workers = choose_workers(&config);
    let clients = descriptors::make_room(&config);
    let plan = Plan::of(&config)?;
    let mut listening = listen::open(&config)?;
    let (storage, joined) = match plan {
        None => (Storage::open(&config)?, None),
        Some(mut plan) => {
            plan.listen(&mut listening)?;
            let data = DataDirectory::open(&config)?;
            plan.setup.segment_bytes = data.segment_bytes(&config)?;
            (Storage::default(), Some(Joined { plan, data }))
        }
    };
    let facts = facts::collect(&config, &listening, workers, clients);
    let identity = identify(&config);
    let busy_poll_us = config.hot.busy_poll_us();
    let node = Node::new(config, identity, workers.count)?;
    if storage.data().is_some() || joined.is_some() {
        node.loading.begin();
    }
    if let Some(joined) = &joined {
        let gateway = Arc::new(joined.plan.gateway()?);
        node.cluster.get_or_init(|| gateway);
    }
    let hub = Arc::new(Hub::new(node, HubOptions { workers: workers.count, busy_poll_us })?);
    match &joined {
        None => {
            hub.change_listeners(|listeners| listeners.append(&mut listening.listeners));
            listen::follow_config(&hub);
        }
        Some(_) => cluster::fix(&hub.service.config),
    }
    let pidfile = write_pidfile(&hub.service.config);
    let traces = Traces { _pidfile: pidfile, unix_path: listening.unix_path };
    show(&facts);
    match joined {
        None => serve(&hub, &signals, log, &storage, traces)?,
        Some(joined) => serve_cluster(&hub, &signals, log, joined, listening.listeners, traces)?,
    }
    tracing::info!("bye");
    Ok(())
}

/// Files that tell of a running server, and go with it.
struct Traces {
    _pidfile: Option<PidFile>,
    unix_path: Option<PathBuf>,
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(path) = &self.unix_path {
            // Someone may have removed it already.
            let _ = std::fs::remove_file(path);
        }
    }
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
    storage: &Storage,
    traces: Traces,
) -> Result<(), StartError> {
    let mut traces = Some(traces);
    storage::follow_config(hub);
    std::thread::scope(|scope| {
        start_workers(scope, hub)?;
        // Clients that come early are told how far the data is loaded.
        let ended = load(hub, signals, log, storage, &mut traces).and_then(|()| {
            storage.start(scope, hub)?;
            hub.service.loading.end();
            tracing::info!("ready to accept connections");
            tell_manager(ServiceState::Ready);
            wait(hub, signals, log, None).map(drop)
        });
        tell_manager(ServiceState::Stopping);
        hub.service.switching.stop();
        hub.service.saving.stop();
        hub.stop();
        ended
    })?;
    storage.write_last_snapshot(hub);
    if let Some(log) = hub.service.durability.log() {
        log.close();
    }
    Ok(())
}

/// A node of a cluster before it runs.
struct Joined {
    plan: Plan,
    data: DataDirectory,
}

/// Runs workers and driver of a cluster's node until the end.
fn serve_cluster(
    hub: &Arc<NodeHub>,
    signals: &Signals,
    log: &Logging,
    joined: Joined,
    listeners: Vec<Listener>,
    _traces: Traces,
) -> Result<(), StartError> {
    let Joined { plan, data } = joined;
    tracing::info!("{CLUSTER_NOTICE}");
    let Some(gateway) = hub.service.cluster.get() else { return Ok(()) };
    std::thread::scope(|scope| {
        start_workers(scope, hub)?;
        scope.spawn(|| cluster::open_doors(hub, gateway, listeners));
        let ended = Driver::open(hub, gateway, data.disk(), plan.setup)
            .map_err(|error| StartError::Driver(data.path().into(), error))
            .and_then(|driver| {
                let thread = std::thread::Builder::new().name("cluster".into());
                let body = move || {
                    ask_for_short_slice();
                    driver.run()
                };
                let running = thread.spawn_scoped(scope, body)?;
                hub.service.loading.end();
                tracing::info!("ready to accept connections");
                tell_manager(ServiceState::Ready);
                let ended = wait(hub, signals, log, None).map(drop);
                tell_manager(ServiceState::Stopping);
                gateway.end();
                // A panic of it has been told, and ends the process by itself where it matters.
                let _ = running.join();
                ended
            });
        // Also where the driver could not be opened: nobody waits at the door then.
        gateway.end();
        hub.stop();
        ended
    })
}

fn start_workers<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    hub: &'env Arc<NodeHub>,
) -> io::Result<()> {
    let cpus = affinity::available_cpus();
    let count = hub.options().workers;
    for index in 0..count {
        // With more workers than processors a pinned one would wait for its own processor
        // while another is free.
        let cpu = (count <= cpus.len()).then(|| cpus[index]);
        let name = format!("worker-{index}");
        let body = move || {
            ask_for_short_slice();
            if let Some(cpu) = cpu
                && let Err(error) = affinity::pin_current_thread(cpu)
            {
                tracing::warn!(%error, "this worker is not pinned");
            }
            run_worker(&**hub, index);
        };
        std::thread::Builder::new().name(name).spawn_scoped(scope, body)?;
    }
    Ok(())
}

/// Clients wait for this thread: it should not wait for a neighbour on its processor.
fn ask_for_short_slice() {
    if let Err(error) = affinity::ask_for_short_slice(SLICE_NS) {
        tracing::debug!(%error, "this thread has as long a time slice as others");
    }
}

/// Brings the data back from disk, where it is kept there. Whoever wants the server to end
/// meanwhile is obeyed at once: nothing was changed yet that would have to be brought to an end.
fn load(
    hub: &Arc<NodeHub>,
    signals: &Signals,
    log: &Logging,
    storage: &Storage,
    traces: &mut Option<Traces>,
) -> Result<(), StartError> {
    let Some(data) = storage.data() else { return Ok(()) };
    let bell = EventFd::new()?;
    let mut shown = Some(progress::show(hub));
    std::thread::scope(|scope| {
        let body = || {
            let outcome = data.recover(hub);
            // It refuses only when rung 2^64 - 2 times.
            let _ = bell.ring();
            outcome
        };
        let loader = std::thread::Builder::new().name("recovery".into());
        let loader = loader.spawn_scoped(scope, body)?;
        if wait(hub, signals, log, Some(&bell))? == Woken::ByEnd {
            tracing::info!("the data was not loaded yet; nothing on disk was changed");
            drop((shown.take(), traces.take()));
            std::process::exit(0);
        }
        let failed = || io::Error::other("the thread that loads the data failed");
        loader.join().unwrap_or_else(|_| Err(failed().into()))
    })
}

/// What the main thread was woken by.
#[derive(PartialEq, Eq)]
enum Woken {
    /// Somebody wants the server to end.
    ByEnd,
    /// The bell that was given.
    ByBell,
}

/// Handles signals until one of them, or SHUTDOWN, ends the server, or `bell` rings.
fn wait(
    hub: &NodeHub,
    signals: &Signals,
    log: &Logging,
    bell: Option<&EventFd>,
) -> Result<Woken, StartError> {
    let epoll = Epoll::new()?;
    epoll.add(signals, TOKEN_SIGNAL, Interest::READABLE)?;
    epoll.add(&hub.service.shutdown.bell, TOKEN_SHUTDOWN, Interest::READABLE)?;
    if let Some(bell) = bell {
        epoll.add(bell, TOKEN_BELL, Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(4);
    loop {
        epoll.wait(&mut events, None)?;
        while let Some(signal) = signals.read()? {
            match signal {
                Signal::Terminate | Signal::Interrupt => {
                    tracing::info!(?signal, "ending");
                    // A second one ends the process at once.
                    signals.let_ends_through()?;
                    return Ok(Woken::ByEnd);
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
            return Ok(Woken::ByEnd);
        }
        if let Some(bell) = bell
            && bell.drain()?
        {
            return Ok(Woken::ByBell);
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
