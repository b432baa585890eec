//! The processes of a server on this machine: their processor time and memory, from /proc.
//!
//! A process is found by its listening socket; if its descriptors may not be read, by what the
//! server says of itself. Processor time is exact (`schedstat`, nanoseconds) while the set of
//! threads stays the same, and otherwise taken from `stat`, which counts ended threads too, in
//! ticks of 10 ms.

use super::target::{Place, Target};
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Nanoseconds of a tick: Linux shows times to programs in hundredths of a second.
const TICK_NS: u64 = 10_000_000;
/// State of a listening socket in /proc/net/tcp.
const LISTENING: &str = "0A";
/// Flag of a listening socket in /proc/net/unix.
const ACCEPTS: u32 = 0x0001_0000;

/// The processes behind one measured server; none if they cannot be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerProcess {
    /// Their numbers.
    pub pids: Vec<u32>,
}

/// Processor time at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuTime {
    /// Of each thread, ns.
    threads: BTreeMap<u32, u64>,
    /// Of everything, ended threads included, ns, a multiple of the tick.
    total_ns: u64,
}

impl CpuTime {
    /// What was spent between two moments, ns.
    pub fn between(before: &CpuTime, after: &CpuTime) -> Option<u64> {
        if !before.threads.is_empty() && before.threads.keys().eq(after.threads.keys()) {
            let spent = after.threads.iter().map(|(tid, ns)| ns - before.threads[tid].min(*ns));
            return Some(spent.sum());
        }
        after.total_ns.checked_sub(before.total_ns)
    }
}

impl ServerProcess {
    /// The processes of `targets`; none if any of them is elsewhere.
    pub fn find<'a>(targets: impl Iterator<Item = &'a Target>) -> ServerProcess {
        let mut pids = Vec::new();
        for target in targets {
            let Some(pid) = pid_of(target) else { return ServerProcess::default() };
            if !pids.contains(&pid) {
                pids.push(pid);
            }
        }
        ServerProcess { pids }
    }

    /// Their processor time, if they are there.
    pub fn cpu(&self) -> Option<CpuTime> {
        let mut time = CpuTime { threads: BTreeMap::new(), total_ns: 0 };
        for pid in &self.pids {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            time.total_ns += ticks(&stat)? * TICK_NS;
            for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
                let tid = thread.file_name().to_string_lossy().parse().ok()?;
                // A thread that ended meanwhile makes the sets differ, which is what counts.
                let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
                    continue;
                };
                let ns = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
                time.threads.insert(tid, ns?);
            }
        }
        (!self.pids.is_empty()).then_some(time)
    }

    /// Their resident memory, bytes.
    pub fn rss_bytes(&self) -> Option<u64> {
        let sum = self.pids.iter().map(|pid| rss_of(*pid)).sum::<Option<u64>>();
        sum.filter(|_| !self.pids.is_empty())
    }
}

fn rss_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// `utime` and `stime` of a /proc stat line; the name of the process may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    let field = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(field(11)? + field(12)?)
}

fn pid_of(target: &Target) -> Option<u32> {
    if !target.place.is_local() {
        return None;
    }
    let inode = match &target.place {
        Place::Unix(path) => unix_inode(path),
        Place::Tcp { port, addresses, .. } => {
            addresses.iter().find_map(|address| tcp_inode(address.ip(), *port))
        }
    };
    inode.and_then(owner).or_else(|| told(target))
}

/// The socket that listens on the port for this address, or for every address.
fn tcp_inode(ip: IpAddr, port: u16) -> Option<u64> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let text: String = tables.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (address, listening) = fields.get(1)?.split_once(':')?;
        let is_it = fields.get(3) == Some(&LISTENING)
            && u16::from_str_radix(listening, 16) == Ok(port)
            && takes(address, ip);
        is_it.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

/// True if a socket bound to `address` (hexadecimal, words in the machine's order) takes `ip`.
fn takes(address: &str, ip: IpAddr) -> bool {
    let words: Vec<u32> = (0..address.len() / 8)
        .filter_map(|at| u32::from_str_radix(&address[8 * at..8 * at + 8], 16).ok())
        .collect();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let bound = match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes))),
        _ => <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))),
    };
    bound.is_ok_and(|bound| bound.is_unspecified() || bound.to_canonical() == ip.to_canonical())
}

fn unix_inode(path: &Path) -> Option<u64> {
    let path = path.canonicalize().ok()?;
    let text = fs::read_to_string("/proc/net/unix").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
        let is_it = flags & ACCEPTS != 0 && Path::new(fields.get(7)?) == path;
        is_it.then(|| fields.get(6)?.parse().ok()).flatten()
    })
}

/// The process that has the socket open.
fn owner(inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    pids.into_iter().find(|pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.into_iter().any(|file| {
            fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
        })
    })
}

/// The process that the server says it is, if there is one of that number here.
fn told(target: &Target) -> Option<u32> {
    let info = target.open().ok()?.ask(&["INFO", "server"]).ok()?.text()?;
    let line = info.lines().find_map(|line| line.strip_prefix("process_id:"))?;
    let pid = line.trim().parse().ok()?;
    Path::new(&format!("/proc/{pid}/stat")).exists().then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_process_that_listens_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let target = Target::at(Place::tcp("127.0.0.1", port).expect("an address"));
        let process = ServerProcess::find([&target, &target].into_iter());
        assert_eq!(process.pids, [std::process::id()]);
        assert!(process.rss_bytes().is_some_and(|bytes| bytes > 1 << 20));

        let everywhere = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0"));
        let port =
            everywhere.as_ref().ok().and_then(|l| l.local_addr().ok()).expect("bound").port();
        let target = Target::at(Place::tcp("127.0.0.1", port).expect("an address"));
        assert_eq!(ServerProcess::find([&target].into_iter()).pids, [std::process::id()]);

        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("socket");
        let _listener = UnixListener::bind(&path).expect("a free path");
        let target = Target::at(Place::Unix(path));
        assert_eq!(ServerProcess::find([&target].into_iter()).pids, [std::process::id()]);
    }

    #[test]
    fn processor_time_grows_with_work() {
        let process = ServerProcess { pids: vec![std::process::id()] };
        let before = process.cpu().expect("procfs");
        let sum: u64 = (0..30_000_000u64).map(std::hint::black_box).sum();
        assert!(sum > 0);
        let after = process.cpu().expect("procfs");
        // Other tests' threads may have come and gone: then it is counted in ticks.
        assert!(CpuTime::between(&before, &after).is_some());
        assert_eq!(ServerProcess::default().cpu(), None);
    }

    #[test]
    fn ended_threads_are_counted_in_ticks() {
        let one = CpuTime { threads: [(1, 500)].into(), total_ns: 10_000_000 };
        let same = CpuTime { threads: [(1, 700)].into(), total_ns: 10_000_000 };
        let other = CpuTime { threads: [(2, 100)].into(), total_ns: 30_000_000 };
        assert_eq!(CpuTime::between(&one, &same), Some(200));
        assert_eq!(CpuTime::between(&one, &other), Some(20_000_000));
        assert_eq!(ticks("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14"), Some(23));
        assert_eq!(ticks("nonsense"), None);
    }
}
