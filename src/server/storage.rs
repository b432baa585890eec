//! What is kept on disk, as `appendonly` and `save` say, while the server runs.
//!
//! ```text
//!   yes -> no   hold writes, settle the log, none from here on, let go, close it
//!   no -> yes   a new log behind everything, hold writes, it is used from here on, let go,
//!               a snapshot; only then is the log a base
//! ```
//!
//! One thread does all of it, and undoes in the configuration what it could not do. A server that
//! is to keep nothing loads what lies in its directory, as Redis does, and leaves an empty one
//! alone: it claims it when it is first told to keep something, by the configuration or by SAVE.
//! A directory with data that this server has not loaded is refused then, for it would be hidden
//! by the new data.
//!
//! What a crash in between leaves behind is described in docs/decisions/0011.

use super::error::StartError;
use super::recovery::{self, DataDirectory};
use crate::commands::switching::wait_for_requests;
use crate::commands::{Node, NodeHub, random_seed, saving};
use crate::config::{ApplyError, Caller, Config};
use crate::sys::disk::Disk;
use crate::wal::Log;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Scope;

/// The data directory, once it is claimed.
#[derive(Default)]
pub(super) struct Storage {
    data: OnceLock<DataDirectory>,
    /// Held while the directory is claimed.
    claiming: Mutex<()>,
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
    /// Claims the directory if `config` wants anything to be kept, or if there is something to
    /// be loaded.
    pub(super) fn open(config: &Config) -> Result<Storage, StartError> {
        let storage = Storage::default();
        let data = match is_wanted(config) {
            true => Some(DataDirectory::open(config)?),
            false => DataDirectory::open_if_filled(config)?,
        };
        if let Some(data) = data {
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
        self.write_snapshots(scope, hub)?;
        let body = move || {
            let node = &hub.service;
            while let Some(mut number) = node.switching.next() {
                let outcome = self.follow(hub);
                if let Err(error) = &outcome {
                    tracing::warn!("the storage does not follow the configuration: {error}");
                    self.take_back(node);
                    // What was asked for meanwhile is taken back too: nobody may be told that
                    // it was done.
                    number = node.switching.asked();
                }
                node.switching.finish(number, outcome.map_err(|error| error.to_string()), hub);
            }
        };
        std::thread::Builder::new().name("storage".into()).spawn_scoped(scope, body)?;
        Ok(())
    }

    /// Starts the thread that writes snapshots. It claims the directory for the first one.
    fn write_snapshots<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        hub: &'env Arc<NodeHub>,
    ) -> io::Result<()> {
        let body = move || saving::run(hub, &|| self.disk_for_snapshot(hub));
        std::thread::Builder::new().name("snapshot".into()).spawn_scoped(scope, body).map(drop)
    }

    /// Writes a last snapshot when all clients are gone, if one is wanted.
    pub(super) fn write_last_snapshot(&self, hub: &NodeHub) {
        saving::run_last(hub, &|| self.disk_for_snapshot(hub));
    }

    fn disk_for_snapshot(&self, hub: &NodeHub) -> Result<Arc<dyn Disk>, String> {
        let data = self.claim(&hub.service).map_err(|error| error.to_string())?;
        Ok(Arc::clone(data.disk()))
    }

    /// The directory, which is claimed for the first data of this server if it was not yet.
    fn claim(&self, node: &Node) -> Result<&DataDirectory, SwitchError> {
        let _alone = self.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(data) = self.data() {
            return Ok(data);
        }
        let data = DataDirectory::open(&node.config).map_err(SwitchError::Directory)?;
        if let Some(file) = data.any_data()? {
            return Err(SwitchError::Unknown(file));
        }
        node.durability.set_database_id(random_seed());
        Ok(self.data.get_or_init(|| data))
    }

    /// Brings directory and log to where the configuration wants them.
    fn follow(&self, hub: &Arc<NodeHub>) -> Result<(), SwitchError> {
        let node = &hub.service;
        if is_wanted(&node.config) {
            self.claim(node)?;
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

/// Notes changes for the thread that follows them. To be called before there are clients: who
/// changes something before that thread runs waits for it.
pub(super) fn follow_config(hub: &Arc<NodeHub>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Identity;
    use crate::config::load::{FileSource, Sources};
    use crate::net::{Hub, HubOptions};
    use crate::sync::reclaim;
    use crate::wal::{RecordBuf, RecordKind, RecordMeta};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// How long a request gives a switch to do what it must not do meanwhile.
    const A_WHILE: Duration = Duration::from_millis(100);

    fn server_in(home: &tempfile::TempDir, log: &str) -> (Arc<NodeHub>, Storage) {
        let dir = home.path().to_str().expect("a name in UTF-8");
        let file = FileSource::Text(format!("dir {dir}\nappendonly {log}\n").into_bytes());
        let (config, _) = Config::load(Sources { file, ..Sources::default() }).expect("fine");
        let node = Node::new(config, Identity::default(), 1).expect("made");
        let options = HubOptions { workers: 1, busy_poll_us: 0 };
        let hub = Arc::new(Hub::new(node, options).expect("made"));
        let storage = Storage::default();
        storage.claim(&hub.service).expect("it is ours");
        (hub, storage)
    }

    /// A request that was admitted before `switch` looks for the log again when it makes its
    /// record, and must find what it found then. Where its record ends, if it made one.
    fn request_under_way(
        hub: &Arc<NodeHub>,
        switch: impl FnOnce() -> Result<(), SwitchError>,
    ) -> Option<u64> {
        let durability = &hub.service.durability;
        let (begun, has_begun) = channel();
        std::thread::scope(|scope| {
            let request = scope.spawn(move || {
                let _pin = reclaim::pin();
                let admitted = durability.log().map(|log| log.id());
                begun.send(()).expect("heard");
                let log_now = || durability.log().map(|log| log.id());
                while !durability.is_held() && log_now() == admitted {
                    std::thread::yield_now();
                }
                std::thread::sleep(A_WHILE);
                assert_eq!(log_now(), admitted, "the log changed under a request");
                let kind = RecordKind::Commands;
                let meta = RecordMeta { kind, shard: 0, clock_ms: 1, seed: 0 };
                durability.log()?.append(&RecordBuf::default(), &meta).ok()
            });
            has_begun.recv().expect("it runs");
            switch().expect("switched");
            request.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    #[test]
    fn the_log_does_not_go_under_a_request() {
        let home = tempfile::tempdir().expect("a directory");
        let (hub, storage) = server_in(&home, "yes");
        storage.data().expect("claimed").recover(&hub).expect("nothing is there");
        let log = Arc::clone(hub.service.durability.log().expect("a log is kept"));
        let record = request_under_way(&hub, || switch_off(&hub, &log));
        assert!(hub.service.durability.log().is_none());
        let (end, base) = (record.expect("it found the log"), hub.service.durability.position());
        assert!(base >= end, "a snapshot at {base} would be followed by a record it holds");
    }

    /// Ends the thread of the snapshots, also when the test fails.
    struct Ending<'a>(&'a Node);

    impl Drop for Ending<'_> {
        fn drop(&mut self) {
            self.0.saving.stop();
        }
    }

    #[test]
    fn the_log_does_not_come_under_a_request() {
        let home = tempfile::tempdir().expect("a directory");
        let (hub, storage) = server_in(&home, "no");
        let data = storage.data().expect("claimed");
        std::thread::scope(|scope| {
            storage.write_snapshots(scope, &hub).expect("a thread");
            let _ending = Ending(&hub.service);
            let record = request_under_way(&hub, || switch_on(&hub, data));
            assert_eq!(record, None, "it was admitted without a log");
        });
        let log = hub.service.durability.log().expect("a log is kept now");
        log.close();
    }
}
