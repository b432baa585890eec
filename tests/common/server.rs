//! Servers for the time of a test: started on a free port with a directory of their own, stopped
//! when dropped. A directory that the test gives outlives the server in it.

use super::value::Value;
use super::wire::Client;
use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it answers.
const START_WAIT_MAX: Duration = Duration::from_secs(20);
/// Another process can take the port between our look and the server's bind.
const START_TRIES: usize = 4;

/// A running server.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    log: PathBuf,
    _directory: Option<tempfile::TempDir>,
}

impl Server {
    /// Starts the dse-server at `program`, with further flags. It keeps nothing on disk unless
    /// they say so.
    pub fn dse(program: &Path, flags: &[String]) -> Result<Server, String> {
        let mut fixed = vec!["--bind", "127.0.0.1", "--threads", "2", "--loglevel", "warning"];
        if !flags.iter().any(|flag| flag == "--appendonly") {
            fixed.extend(["--appendonly", "no", "--save", ""]);
        }
        start(program.as_os_str(), &fixed, flags)
    }

    /// Starts the dse-server at `program` on the data in `home/data`; what it says is added to
    /// `home/said`. Returns when it has loaded its data, or what it said if it ended.
    pub fn dse_in(program: &Path, home: &Path, flags: &[String]) -> Result<Server, String> {
        let mut last = String::new();
        for _ in 0..START_TRIES {
            let mut server = Server::spawn_in(program, home, flags)?;
            match wait_until(&mut server, is_loaded) {
                Ok(()) => return Ok(server),
                Err(error) => last = error,
            }
            if !last.contains("in use") || last.contains("directory") {
                break;
            }
        }
        Err(last)
    }

    /// As [`Server::dse_in`], without waiting for anything.
    pub fn spawn_in(program: &Path, home: &Path, flags: &[String]) -> Result<Server, String> {
        let data = home.join("data");
        std::fs::create_dir_all(&data).map_err(|error| error.to_string())?;
        let fixed = ["--bind", "127.0.0.1", "--threads", "2", "--loglevel", "warning"];
        spawn(program.as_os_str(), &data, home.join("said"), &fixed, flags)
    }

    /// Kills the process as `kill -9` does, and waits until it is gone.
    pub fn kill(self) {
        drop(self);
    }

    /// The exit code, if the process has ended by itself.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.try_wait().ok().flatten().and_then(|status| status.code())
    }

    /// What all servers with the same log have said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Starts redis-server from the path, with further flags. See [`redis_is_there`].
    pub fn redis(flags: &[String]) -> Result<Server, String> {
        let fixed = ["--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"];
        start(OsStr::new("redis-server"), &fixed, flags)
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address).expect("a running server accepts connections")
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// True while the process has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself (SHUTDOWN); then there is nothing to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// True if a redis-server of the version that replies are compared with is installed.
pub fn redis_is_there() -> bool {
    let output = Command::new("redis-server").arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("v=7.0."))
}

fn start(program: &OsStr, fixed: &[&str], flags: &[String]) -> Result<Server, String> {
    let mut last = String::new();
    for _ in 0..START_TRIES {
        match try_start(program, fixed, flags) {
            Ok(server) => return Ok(server),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn try_start(program: &OsStr, fixed: &[&str], flags: &[String]) -> Result<Server, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let log = directory.path().join("log");
    let mut server = spawn(program, directory.path(), log, fixed, flags)?;
    server._directory = Some(directory);
    wait_until(&mut server, answers)?;
    Ok(server)
}

fn spawn(
    program: &OsStr,
    directory: &Path,
    log: PathBuf,
    fixed: &[&str],
    flags: &[String],
) -> Result<Server, String> {
    let opened = std::fs::File::options().create(true).append(true).open(&log);
    let output = opened.map_err(|error| error.to_string())?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    let address = free_address();
    let child = Command::new(program)
        .args(["--port", &address.port().to_string()])
        .args(fixed)
        .arg("--dir")
        .arg(directory)
        .args(flags)
        .current_dir(directory)
        .env_remove("DSE_CRASH_ROUNDS")
        .env_remove("DSE_CRASH_SEED")
        .env_remove("DSE_POWER_CUTS")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(Server { address, child, log, _directory: None })
}

fn wait_until(server: &mut Server, ready: fn(SocketAddr) -> bool) -> Result<(), String> {
    let began = Instant::now();
    while !ready(server.address) {
        if !server.is_running() {
            return Err(format!("the server ended at once; it said: {}", server.said()));
        }
        if began.elapsed() > START_WAIT_MAX {
            return Err(format!("the server does not answer; it said: {}", server.said()));
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok(())
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("a bound socket has an address")
}

/// Any reply counts: with a password set it is an error.
fn answers(address: SocketAddr) -> bool {
    matches!(ping(address), Some(Value::Simple(_) | Value::Error(_)))
}

fn is_loaded(address: SocketAddr) -> bool {
    matches!(ping(address), Some(Value::Simple(_)))
}

/// What PING is answered. The connection is closed on the server's side too when this returns:
/// tests count connections.
fn ping(address: SocketAddr) -> Option<Value> {
    let mut client = Client::connect(address).ok()?;
    let reply = client.call(&["PING"]).ok();
    client.finish_sending();
    // There is nothing to come but the end.
    let _ = client.read();
    reply
}
