//! A server inside the test program, over a disk that the test gives: so the test can look at what
//! the disk holds at the moment at which a client is told something.

use dse::commands::{Identity, Node, NodeHub};
use dse::config::Config;
use dse::limits::LOG_BLOCK_BYTES;
use dse::net::{Hub, HubOptions, Listener, run_worker};
use dse::sys::disk::Disk;
use dse::sys::socket::{self, ListenOptions};
use dse::wal::{Log, LogOptions, LogStart, SyncMode};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

/// Bytes of a file of the log.
pub const SEGMENT: u64 = 1 << 20;
const WORKERS: usize = 2;

/// A running server; stopped when dropped.
pub struct Inside {
    pub hub: Arc<NodeHub>,
    pub log: Arc<Log>,
    pub address: SocketAddr,
    workers: Vec<JoinHandle<()>>,
}

impl Inside {
    /// A server without data whose log goes to `disk`.
    pub fn start(disk: &Arc<dyn Disk>, mode: SyncMode) -> Inside {
        let node = Node::new(Config::new(), Identity::default(), WORKERS).expect("made");
        let options = HubOptions { workers: WORKERS, busy_poll_us: 0 };
        let hub: Arc<NodeHub> = Arc::new(Hub::new(node, options).expect("made"));
        let address = listen(&hub);
        let weak: Weak<NodeHub> = Arc::downgrade(&hub);
        let progress = Box::new(move || {
            if let Some(hub) = weak.upgrade() {
                hub.service.durability.progressed(&hub);
            }
        });
        let options = LogOptions { mode, segment_bytes: SEGMENT, ring_bytes: 4 << 20 };
        let start = LogStart { start: LOG_BLOCK_BYTES, generation: 1, log_id: 9 };
        let log = Log::open(Arc::clone(disk), options, start, progress).expect("opened");
        hub.service.durability.start(Arc::clone(&log));
        let run = |index| {
            let hub = Arc::clone(&hub);
            std::thread::spawn(move || run_worker(&*hub, index))
        };
        let workers = (0..WORKERS).map(run).collect();
        Inside { hub, log, address, workers }
    }
}

fn listen(hub: &NodeHub) -> SocketAddr {
    // The port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a port is free");
    let fd = socket::listen_tcp(address, ListenOptions::default()).expect("it is still free");
    hub.change_listeners(|listeners| listeners.push(Listener::tcp(fd, address)));
    address
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.hub.stop();
        for worker in self.workers.drain(..) {
            worker.join().expect("it ends in order");
        }
        self.log.close();
    }
}
