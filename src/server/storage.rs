//! What is kept on disk, as `appendonly` and `save` say, while the server runs.
//!
//! ```text
//!   yes -> no   hold writes, settle the log, none from here on, let go, close it
//!   no -> yes   a new log behind everything, hold writes, it is used from here on, let go,
//!               a snapshot; only then is the log a base
//! ```
//!
//! One thread does all of it, and undoes in the configuration what it could not do. A server that
//! kept nothing claims its directory when it is first told to keep something; a directory with
//! data that this server has not loaded is refused, for it would be hidden by the new data.
//!
//! What a crash in between leaves behind is described in docs/decisions/0011.

use super::error::StartError;
use super::recovery::{self, DataDirectory};
use crate::commands::switching::wait_for_requests;
use crate::commands::{Node, NodeHub, random_seed, saving};
use crate::config::{ApplyError, Caller, Config};
use crate::wal::Log;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::Scope;

/// The data directory, once it is claimed.
#[derive(Default)]
pub(super) struct Storage {
    data: OnceLock<DataDirectory>,
}

/// Why the storage could not follow the configuration.
#[derive(Debug)]
enum SwitchError {
    /// The directory cannot be used.
    Directory(StartError),
    /// It holds data that was not loaded.
    Unknown(String),
    /// The system refused something.
    Io(io::Error),
    /// The log is broken, and what is in it is not known.
    Broken,
    /// The snapshot in front of the log failed.
    Snapshot(String),
    /// The log was switched too often.
    TooOften,
}

impl fmt::Display for SwitchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SwitchError::Directory(error) => error.fmt(f),
            SwitchError::Unknown(file) => write!(
                f,
                "the directory holds {file}, which this server has not loaded and would hide; \
                 restart it on that directory, or set another 'dir'"
            ),
            SwitchError::Io(error) => error.fmt(f),
            SwitchError::Broken => {
                f.write_str("the log is broken; mend the disk and restart the server")
            }
            SwitchError::Snapshot(why) => {
                write!(f, "the snapshot that the log would begin with failed: {why}")
            }
            SwitchError::TooOften => {
                f.write_str("the log was switched on too often; restart the server")
            }
        }
    }
}

impl From<io::Error> for SwitchError {
    fn from(error: io::Error) -> SwitchError {
        SwitchError::Io(error)
    }
}

impl Storage {
    /// Claims the directory if `config` wants anything to be kept.
    pub(super) fn open(config: &Config) -> Result<Storage, StartError> {
        let storage = Storage::default();
        if is_wanted(config) {
            let data = DataDirectory::open(config)?;
            storage.data.get_or_init(|| data);
        }
        Ok(storage)
    }

    /// The directory, if it is claimed.
    pub(super) fn data(&self) -> Option<&DataDirectory> {
        self.data.get()
    }

    /// Starts the threads that write snapshots and follow the configuration, until the server
    /// ends.
    pub(super) fn start<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        hub: &'env Arc<NodeHub>,
    ) -> io::Result<()> {
        follow_config(hub);
        if let Some(data) = self.data() {
            write_snapshots(scope, hub, data)?;
        }
        let body = move || {
            let node = &hub.service;
            while let Some(number) = node.switching.next() {
                let outcome = self.follow(scope, hub);
                if let Err(error) = &outcome {
                    tracing::warn!("the storage does not follow the configuration: {error}");
                    self.take_back(node);
                }
                node.switching.finish(number, outcome.map_err(|error| error.to_string()), hub);
            }
        };
        std::thread::Builder::new().name("storage".into()).spawn_scoped(scope, body)?;
        // It may have changed while the data was loaded.
        hub.service.switching.ask();
        Ok(())
    }

    /// Brings directory and log to where the configuration wants them.
    fn follow<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        hub: &'env Arc<NodeHub>,
    ) -> Result<(), SwitchError> {
        let node = &hub.service;
        if is_wanted(&node.config) && self.data().is_none() {
            let data = claim(&node.config)?;
            node.durability.set_database_id(random_seed());
            write_snapshots(scope, hub, self.data.get_or_init(|| data))?;
        }
        match (node.config.values().flag("appendonly"), node.durability.log(), self.data()) {
            (true, None, Some(data)) => switch_on(hub, data),
            (false, Some(log), _) => switch_off(hub, log),
            _ => Ok(()),
        }
    }

    /// Makes the configuration say what is the case.
    fn take_back(&self, node: &Node) {
        let log: &[u8] = if node.durability.log().is_some() { b"yes" } else { b"no" };
        let mut pairs: Vec<(&[u8], &[u8])> = vec![(b"appendonly", log)];
        if self.data().is_none() {
            pairs.push((b"save", b""));
        }
        if let Err(error) = node.config.set_many(Caller::Local, &pairs) {
            tracing::error!("the configuration says what is not so: {error}");
        }
    }
}

/// True when the server keeps anything on disk: a log, or snapshots by rule.
fn is_wanted(config: &Config) -> bool {
    let values = config.values();
    values.flag("appendonly") || !values.save_rules().is_empty()
}

/// Notes changes for the thread that follows them.
fn follow_config(hub: &Arc<NodeHub>) {
    let config = &hub.service.config;
    let weak = Arc::downgrade(hub);
    config.on_change(&["appendonly", "save"], move |_| {
        if let Some(hub) = weak.upgrade() {
            hub.service.switching.ask();
        }
        Ok::<(), ApplyError>(())
    });
    let weak = Arc::downgrade(hub);
    config.on_change(&["appendfsync"], move |config| {
        let hub = weak.upgrade();
        if let Some(log) = hub.as_ref().and_then(|hub| hub.service.durability.log()) {
            log.set_mode(recovery::sync_mode(config));
        }
        Ok(())
    });
}

fn write_snapshots<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    hub: &'env Arc<NodeHub>,
    data: &'env DataDirectory,
) -> io::Result<()> {
    let body = move || saving::run(hub, data.disk());
    std::thread::Builder::new().name("snapshot".into()).spawn_scoped(scope, body).map(drop)
}

/// The directory for the first data of this server.
fn claim(config: &Config) -> Result<DataDirectory, SwitchError> {
    let data = DataDirectory::open(config).map_err(SwitchError::Directory)?;
    match data.any_data()? {
        Some(file) => Err(SwitchError::Unknown(file)),
        None => Ok(data),
    }
}

/// Begins a log. It is used at once, and is a base when the snapshot is there; if that fails, it
/// is closed again.
fn switch_on(hub: &Arc<NodeHub>, data: &DataDirectory) -> Result<(), SwitchError> {
    let node = &hub.service;
    if !node.durability.can_start() {
        return Err(SwitchError::TooOften);
    }
    let away = node.saving.keep_away();
    let log = data.open_anew(hub)?;
    node.switching.set_opening(true);
    node.durability.hold();
    wait_for_requests();
    node.durability.start(Arc::clone(&log));
    // It may have changed since the log was opened.
    log.set_mode(recovery::sync_mode(&node.config));
    node.durability.let_go(hub);
    drop(away);
    let number = node.saving.ask(true).unwrap_or_default();
    node.saving.hurry(number);
    if let Err(why) = node.saving.wait(number) {
        if !node.saving.is_stopping() {
            switch_off(hub, &log)?;
        }
        return Err(SwitchError::Snapshot(why));
    }
    node.switching.set_opening(false);
    tracing::info!("a log is kept from now on");
    Ok(())
}

/// Ends the log where it stands.
fn switch_off(hub: &Arc<NodeHub>, log: &Arc<Log>) -> Result<(), SwitchError> {
    let node = &hub.service;
    let _away = node.saving.keep_away();
    node.durability.hold();
    wait_for_requests();
    // Replies wait for the log for as long as it is the one in use.
    let settled = log.settle(log.end());
    if settled.is_err() {
        node.durability.let_go(hub);
        return Err(SwitchError::Broken);
    }
    node.durability.end(log);
    wait_for_requests();
    node.durability.let_go(hub);
    log.close();
    node.switching.set_opening(false);
    tracing::info!("no log is kept from now on");
    Ok(())
}
