//! Three nodes of a cluster as processes, each on ports and a directory of its own.

use crate::common::value::Value;
use crate::common::wire::Client;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine; no test asserts on elapsed time.
const PATIENCE: Duration = Duration::from_secs(90);
/// Nodes of a cluster.
pub const NODES: usize = 3;

/// How far the ports for other nodes and for redirection lie behind that for clients: the last
/// node has them elsewhere than by default.
const OFFSETS: [(u16, u16); NODES] = [(10_000, 5000), (10_000, 5000), (9000, 4000)];

/// A cluster for the time of a test.
pub struct Cluster {
    home: tempfile::TempDir,
    ports: [u16; NODES],
    nodes: [Option<Child>; NODES],
    /// Flags that all nodes are started with, beside the usual ones.
    pub flags: Vec<String>,
    /// What the environment of all nodes holds, beside the usual.
    pub environment: Vec<(String, String)>,
}

impl Cluster {
    /// Starts one and waits until every group has a leader, as every node sees it.
    pub fn start() -> Cluster {
        Cluster::start_with(&[])
    }

    /// The same with flags for all nodes.
    pub fn start_with(flags: &[&str]) -> Cluster {
        let mut cluster = Cluster::prepare(flags);
        cluster.begin();
        cluster
    }

    /// A cluster that does not run yet.
    pub fn prepare(flags: &[&str]) -> Cluster {
        let home = tempfile::tempdir().expect("a directory");
        let (ports, nodes) = (free_ports(), [None, None, None]);
        let flags = flags.iter().map(ToString::to_string).collect();
        Cluster { home, ports, nodes, flags, environment: Vec::new() }
    }

    /// Starts all nodes and waits until every group has a leader.
    pub fn begin(&mut self) {
        (0..NODES).for_each(|at| self.start_node(at));
        self.wait_until_whole();
    }

    /// A file for the time of the test.
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Starts a node on what it has.
    pub fn start_node(&mut self, at: usize) {
        let data = self.data(at);
        std::fs::create_dir_all(&data).expect("a directory");
        let said = File::options().create(true).append(true).open(self.said_path(at));
        let said = said.expect("a file for what it says");
        let errors = said.try_clone().expect("a second descriptor");
        let peers: Vec<String> = (0..NODES)
            .filter(|&other| other != at)
            .map(|other| {
                let port = self.ports[other];
                let (peer, redirect) = (port + OFFSETS[other].0, port + OFFSETS[other].1);
                match OFFSETS[other] == OFFSETS[0] {
                    true => format!("node-{other}:127.0.0.1:{port}"),
                    false => format!("node-{other}:127.0.0.1:{port}@{peer}/{redirect}"),
                }
            })
            .collect();
        let (peer, redirect) = (self.ports[at] + OFFSETS[at].0, self.ports[at] + OFFSETS[at].1);
        let own_ports = match OFFSETS[at] == OFFSETS[0] {
            true => Vec::new(),
            false => vec![format!("--peer-port={peer}"), format!("--redirect-port={redirect}")],
        };
        let child = Command::new(env!("CARGO_BIN_EXE_dse-server"))
            .args(["--port", &self.ports[at].to_string(), "--node", &format!("node-{at}")])
            .args(["--peers", &peers.join(","), "--threads", "1"])
            .args(own_ports)
            .args(&self.flags)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .arg("--dir")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(said)
            .stderr(errors)
            .spawn();
        self.nodes[at] = Some(child.expect("the program runs"));
    }

    /// Kills a node as `kill -9` does.
    pub fn kill(&mut self, at: usize) {
        if let Some(mut node) = self.nodes[at].take() {
            // It may have been killed by its number already.
            let _ = node.kill();
            node.wait().expect("it is ours");
        }
    }

    /// Asks a node to end, and waits until it has; true if it ended well.
    pub fn end(&mut self, at: usize) -> bool {
        let Some(mut node) = self.nodes[at].take() else { return false };
        let mut client = self.client(at);
        client.send(b"SHUTDOWN\r\n");
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = node.try_wait().expect("it is ours") {
                return status.success();
            }
            assert!(Instant::now() < until, "node {at} does not end: {}", self.said(at));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process of a node that runs.
    pub fn process_id(&self, at: usize) -> Option<u32> {
        self.nodes[at].as_ref().map(Child::id)
    }

    /// Where a node keeps its data.
    pub fn data(&self, at: usize) -> PathBuf {
        self.home.path().join(format!("node-{at}"))
    }

    fn said_path(&self, at: usize) -> PathBuf {
        self.home.path().join(format!("said-{at}"))
    }

    /// What a node has said.
    pub fn said(&self, at: usize) -> String {
        read(&self.said_path(at))
    }

    /// Where a node answers for every key.
    pub fn address(&self, at: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[at]))
    }

    /// Where a node says where keys are.
    pub fn redirect_address(&self, at: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[at] + OFFSETS[at].1))
    }

    /// A connection to a node that takes any.
    pub fn client(&self, at: usize) -> Client {
        let until = Instant::now() + PATIENCE;
        loop {
            match Client::connect(self.address(at)) {
                Ok(client) => return client,
                Err(error) => assert!(Instant::now() < until, "node {at}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until every node that runs knows a leader of every group and answers for all of them.
    pub fn wait_until_whole(&self) {
        for at in (0..NODES).filter(|&at| self.nodes[at].is_some()) {
            self.wait_until("a whole cluster", || {
                let mut client = self.client(at);
                let info = text(client.call(&["CLUSTER", "INFO"]).ok());
                let size = client.call(&["DBSIZE"]).ok();
                info.contains("cluster_state:ok") && matches!(size, Some(Value::Int(_)))
            });
        }
    }

    /// Tries until `ready`, or the test's patience is over.
    pub fn wait_until(&self, what: &str, mut ready: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !ready() {
            let said: Vec<String> = (0..NODES).map(|at| self.said(at)).collect();
            assert!(Instant::now() < until, "never happened: {what}\n{}", said.join("\n---\n"));
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..NODES).for_each(|at| self.kill(at));
    }
}

/// The text of a reply, whatever its kind.
pub fn text(value: Option<Value>) -> String {
    match value {
        Some(Value::Bulk(bytes) | Value::Verbatim(_, bytes)) => {
            String::from_utf8_lossy(&bytes).into_owned()
        }
        other => format!("{other:?}"),
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Ports whose neighbours for redirection and peers are free as well.
fn free_ports() -> [u16; NODES] {
    let mut ports = Vec::new();
    while ports.len() < NODES {
        let first = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = first.local_addr().expect("it is bound").port() % 20_000 + 20_000;
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if !ports.contains(&port)
            && [0, 4000, 5000, 9000, 10_000].iter().all(|offset| is_free(port + offset))
        {
            ports.push(port);
        }
    }
    ports.try_into().expect("so many were drawn")
}
