//! Three nodes, each in a network namespace of its own behind one bridge, with an ext4 in a file
//! as its disk.
//!
//! ```text
//!   clients (this process) -- bridge --+-- veth -- node-1
//!                                      +-- veth -- node-2
//!                                      '-- veth -- node-3
//! ```
//!
//! Nodes know each other's hardware addresses from a fixed table. A direction is cut by a wrong
//! address in it: what is sent is lost without a word, as on a real network, and clients still
//! reach every node. The addresses are of the range for tests of networks (198.18.0.0/15).

use crate::common::value::Value;
use crate::common::wire::Client;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const NODES: usize = 3;
const PORT: u16 = 6379;
const REDIRECT_PORT: u16 = PORT + 5000;
/// Size of a node's disk, of which only what is used exists.
const DISK_MEBIBYTES: u64 = 768;
/// Programs that everything here needs.
const PROGRAMS: [&str; 8] =
    ["unshare", "nsenter", "ip", "mount", "mkfs.ext4", "fsfreeze", "fallocate", "python3"];
/// Set in the process that is inside of the namespaces: where it keeps its files.
const HOME: &str = "DSE_NEMESIS_HOME";
/// Tells the file system of a directory to stop at once (EXT4_GOING_FLAGS_NOLOGFLUSH).
const SHUT_DOWN: &str = "import fcntl, os, struct, sys\n\
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

/// Runs a program that must succeed.
pub fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
}

/// Runs what is given as words between spaces.
pub fn run_line(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    run(words[0], &words[1..]);
}

/// Why nothing can be done here; `None` if it can.
fn missing() -> Option<String> {
    let finds = |name: &&str| {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|path| path.join(name).exists())
    };
    if let Some(name) = PROGRAMS.iter().find(|name| !finds(name)) {
        return Some(format!("{name} is not installed"));
    }
    let tried = Command::new("unshare")
        .args([
            "--net", "--mount", "--pid", "--fork", "ip", "link", "add", "name", "br0", "type",
            "bridge",
        ])
        .output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_string()),
        Err(error) => Some(error.to_string()),
    }
}

/// Runs `test` of this program again, inside of namespaces of its own, unless this is that run.
/// Returns the home directory there; `None` in the outer process, in which all is over then.
pub fn enter(test: &str) -> Option<PathBuf> {
    if let Some(home) = std::env::var_os(HOME) {
        end_with_the_outer_process(Path::new(&home));
        return Some(home.into());
    }
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {test}: networks and disks cannot be had here: {why}");
        return None;
    }
    let home = tempfile::tempdir().expect("a directory");
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(HOME, home.path())
        // Its other end is closed when this process ends, however it does.
        .stdin(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            // Waiting would close it.
            let _held = child.stdin.take();
            child.wait()
        });
    let status = status.expect("it was tried above");
    assert!(status.success(), "{test} failed inside of its namespaces");
    None
}

/// The first process of the namespaces is deaf to Ctrl-C; it ends when what started it does, and
/// the kernel ends everything else in them.
fn end_with_the_outer_process(home: &Path) {
    let home = home.to_path_buf();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        for node in 1..=NODES {
            let _ =
                Command::new("umount").arg("-l").arg(home.join(format!("disk-{node}"))).output();
        }
        let _ = std::fs::remove_dir_all(&home);
        std::process::exit(130);
    });
}

/// The cluster and what it stands on.
pub struct World {
    pub home: PathBuf,
    flags: Vec<String>,
    nodes: [Option<Child>; NODES],
    is_mounted: [bool; NODES],
    faketime: Option<PathBuf>,
}

impl World {
    /// Networks, empty disks, and three nodes that found a cluster.
    pub fn start(home: PathBuf, flags: Vec<String>) -> World {
        run_line("mount -t tmpfs none /run");
        run_line("ip link set lo up");
        run_line("ip link add name br0 type bridge");
        run_line("ip addr add 198.18.0.254/24 dev br0");
        run_line("ip link set br0 up");
        (0..NODES).for_each(network);
        let faketime = find_faketime();
        let mut world =
            World { home, flags, nodes: [None, None, None], is_mounted: [false; NODES], faketime };
        for at in 0..NODES {
            std::fs::create_dir_all(world.disk(at)).expect("made");
            world.set_clock(at, "+0");
            world.make_disk(at);
            world.mount(at);
        }
        world.heal();
        (0..NODES).for_each(|at| world.start_node(at));
        world
    }

    /// True if clocks can be set.
    pub fn has_faketime(&self) -> bool {
        self.faketime.is_some()
    }

    fn image(&self, at: usize) -> PathBuf {
        self.home.join(format!("image-{}", at + 1))
    }

    /// Where the disk of a node is mounted.
    pub fn disk(&self, at: usize) -> PathBuf {
        self.home.join(format!("disk-{}", at + 1))
    }

    fn said_path(&self, at: usize) -> PathBuf {
        self.home.join(format!("said-{}", at + 1))
    }

    /// What a node has said.
    pub fn said(&self, at: usize) -> String {
        std::fs::read_to_string(self.said_path(at)).unwrap_or_default()
    }

    /// Gives a node an empty disk.
    pub fn make_disk(&self, at: usize) {
        let file = File::create(self.image(at)).expect("made");
        file.set_len(DISK_MEBIBYTES << 20).expect("sized");
        run("mkfs.ext4", &["-q", "-F", text(&self.image(at))]);
    }

    pub fn mount(&mut self, at: usize) {
        // Where data goes through the journal, what is written past the page cache and not synced
        // is lost as well.
        let options = if at == 1 { "loop,data=journal" } else { "loop" };
        run("mount", &["-o", options, text(&self.image(at)), text(&self.disk(at))]);
        self.is_mounted[at] = true;
    }

    pub fn unmount(&mut self, at: usize) {
        run("umount", &[text(&self.disk(at))]);
        self.is_mounted[at] = false;
    }

    /// The disk takes nothing more, and what was not synced is gone.
    pub fn cut_power(&self, at: usize) {
        run("python3", &["-c", SHUT_DOWN, text(&self.disk(at))]);
    }

    /// Nothing is written until it is thawed.
    pub fn freeze(&self, at: usize, is_frozen: bool) {
        run("fsfreeze", &[if is_frozen { "-f" } else { "-u" }, text(&self.disk(at))]);
    }

    /// Sets the wall clock of a node, as `+seconds` or `-seconds`. Others run on.
    pub fn set_clock(&self, at: usize, offset: &str) {
        std::fs::write(self.home.join(format!("clock-{}", at + 1)), offset).expect("written");
    }

    /// Starts a node on what it has.
    pub fn start_node(&mut self, at: usize) {
        assert!(self.nodes[at].is_none(), "node {at} runs");
        let said = File::options().create(true).append(true).open(self.said_path(at));
        let said = said.expect("a file for what it says");
        let errors = said.try_clone().expect("a second descriptor");
        let peers: Vec<String> = (0..NODES)
            .filter(|&other| other != at)
            .map(|other| format!("node-{}:{}:{PORT}", other + 1, ip(other)))
            .collect();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/n{}", at + 1))
            .arg(env!("CARGO_BIN_EXE_dse-server"))
            .args(["--port", &PORT.to_string(), "--bind", &ip(at).to_string()])
            .args(["--cluster-announce-ip", &ip(at).to_string()])
            .args(["--node", &format!("node-{}", at + 1), "--peers", &peers.join(",")])
            .args(["--threads", "1", "--wal-segment-bytes", "1mb", "--protected-mode", "no"])
            .args(&self.flags)
            .arg("--dir")
            .arg(self.disk(at).join("data"))
            .env("DSE_CLUSTER_SECRET", "a secret for the tests");
        if let Some(library) = &self.faketime {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", self.home.join(format!("clock-{}", at + 1)))
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        std::fs::create_dir_all(self.disk(at).join("data")).expect("made");
        let child = command.stdin(Stdio::null()).stdout(said).stderr(errors).spawn();
        self.nodes[at] = Some(child.expect("the program runs"));
    }

    /// `kill -9`, if it runs.
    pub fn kill(&mut self, at: usize) {
        if let Some(mut node) = self.nodes[at].take() {
            // It may have ended by itself.
            let _ = node.kill();
            node.wait().expect("it is ours");
        }
    }

    /// Sends a signal by name.
    pub fn signal(&self, at: usize, name: &str) {
        let id = self.nodes[at].as_ref().expect("it runs").id().to_string();
        run("kill", &["-s", name, &id]);
    }

    /// Waits until a node has ended by itself; false if it does not in that time.
    pub fn wait_for_end(&mut self, at: usize, most: Duration) -> bool {
        let until = Instant::now() + most;
        while Instant::now() < until {
            let Some(node) = &mut self.nodes[at] else { return true };
            if node.try_wait().expect("it is ours").is_some() {
                self.nodes[at] = None;
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Whether a node has ended though nobody ended it.
    pub fn has_ended(&mut self, at: usize) -> bool {
        self.nodes[at].as_mut().is_some_and(|node| !matches!(node.try_wait(), Ok(None)))
    }

    /// From now on nothing gets from one node to another.
    pub fn cut(&self, from: usize, to: usize, is_cut: bool) {
        let last = if is_cut { 0xff } else { to + 1 };
        run_line(&format!(
            "ip -n n{} neigh replace {} lladdr 02:00:00:00:00:{last:02x} dev eth0 nud permanent",
            from + 1,
            ip(to)
        ));
    }

    /// All nodes reach each other.
    pub fn heal(&self) {
        for from in 0..NODES {
            (0..NODES).filter(|&to| to != from).for_each(|to| self.cut(from, to, false));
        }
    }

    /// Waits until every node knows a leader of every group and answers for all of them.
    pub fn wait_until_whole(&mut self, most: Duration) -> Result<(), String> {
        let until = Instant::now() + most;
        for at in 0..NODES {
            while !is_whole(at) {
                if self.has_ended(at) {
                    return Err(format!("node-{} ended by itself", at + 1));
                }
                if Instant::now() > until {
                    return Err(format!("node-{} is not whole after {most:?}", at + 1));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        (0..NODES).for_each(|at| self.kill(at));
        for at in (0..NODES).filter(|&at| self.is_mounted[at]) {
            // At the end of the namespace nothing is mounted any more.
            let _ = Command::new("umount").arg(self.disk(at)).output();
        }
    }
}

fn is_whole(at: usize) -> bool {
    let Ok(mut client) = Client::connect(address(at)) else { return false };
    let info = client.call(&["CLUSTER", "INFO"]);
    let is_ok = |value: Value| {
        let text = String::from_utf8_lossy(value.text().unwrap_or_default()).into_owned();
        text.contains("cluster_state:ok")
    };
    info.is_ok_and(is_ok) && matches!(client.call(&["DBSIZE"]), Ok(Value::Int(_)))
}

fn network(at: usize) {
    let node = at + 1;
    for line in [
        format!("ip netns add n{node}"),
        format!("ip link add v{node} type veth peer name eth0 netns n{node}"),
        format!("ip link set v{node} master br0"),
        format!("ip link set v{node} up"),
        format!("ip -n n{node} link set eth0 address 02:00:00:00:00:{node:02x}"),
        format!("ip -n n{node} addr add {}/24 dev eth0", ip(at)),
        format!("ip -n n{node} link set eth0 up"),
        format!("ip -n n{node} link set lo up"),
    ] {
        run_line(&line);
    }
}

fn ip(at: usize) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, at as u8 + 1)
}

/// Where a node answers for every key.
pub fn address(at: usize) -> SocketAddr {
    SocketAddr::from((ip(at), PORT))
}

/// Where a node says where keys are.
pub fn redirect_address(at: usize) -> SocketAddr {
    SocketAddr::from((ip(at), REDIRECT_PORT))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

/// The library that shows programs another wall clock.
fn find_faketime() -> Option<PathBuf> {
    let homes = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let places = homes.map(|home| home.path().join("faketime/libfaketimeMT.so.1"));
    places.into_iter().find(|path| path.exists())
}
