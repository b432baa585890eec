//! The process as the system sees it: limits, memory, identity, and its service manager.

use super::failure::failed;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::sys::utsname;
use nix::unistd::{SysconfVar, sysconf};
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Raises the limit of open descriptors to `wanted` as far as the system lets it, and returns the
/// limit reached, which may also be more than was asked for. Never lowers it.
pub fn raise_fd_limit(wanted: u64) -> io::Result<u64> {
    let what = "read the limit of open descriptors";
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|cause| failed(what, cause))?;
    if soft >= wanted {
        return Ok(soft);
    }
    // With the privilege the hard limit rises too; without it, it is the most there is.
    if wanted > hard && setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        return Ok(wanted);
    }
    let reachable = wanted.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, reachable, hard)
        .map_err(|cause| failed(format!("raise open descriptors to {reachable}"), cause))?;
    Ok(reachable)
}

/// Bytes of memory that are resident.
pub fn rss_bytes() -> io::Result<u64> {
    let path = "/proc/self/statm";
    let text = fs::read_to_string(path).map_err(|cause| failed(format!("read {path}"), cause))?;
    let pages = text.split_ascii_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    let Some(pages) = pages else {
        return Err(failed(format!("read {path}"), io::Error::from(io::ErrorKind::InvalidData)));
    };
    Ok(pages * page_bytes())
}

/// Bytes of a page of memory.
pub fn page_bytes() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |bytes| bytes as u64)
}

/// Bytes of memory that the machine has, or `None` if it does not say.
pub fn memory_total_bytes() -> Option<u64> {
    meminfo_bytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

fn meminfo_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Number of this process.
pub fn pid() -> u32 {
    std::process::id()
}

/// Name of this machine.
pub fn hostname() -> String {
    nix::unistd::gethostname()
        .map_or_else(|_| String::from("?"), |name| name.to_string_lossy().into_owned())
}

/// What the system calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemName {
    /// "Linux".
    pub system: String,
    /// Version of the kernel.
    pub release: String,
    /// Kind of processor.
    pub machine: String,
}

/// Name of the operating system, as `uname` has it.
pub fn system_name() -> SystemName {
    let word = |word: &std::ffi::OsStr| word.to_string_lossy().into_owned();
    match utsname::uname() {
        Ok(name) => SystemName {
            system: word(name.sysname()),
            release: word(name.release()),
            machine: word(name.machine()),
        },
        Err(_) => SystemName { system: "?".into(), release: "?".into(), machine: "?".into() },
    }
}

/// Sets the permission bits that new files do not get, and returns those of before.
pub fn set_umask(bits: u32) -> u32 {
    umask(Mode::from_bits_truncate(bits)).bits()
}

/// What the service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState<'a> {
    /// Start-up is over, or reloading is.
    Ready,
    /// The configuration is being read again; `Ready` follows.
    Reloading,
    /// Shutting down.
    Stopping,
    /// A line for `systemctl status`.
    Status(&'a str),
}

/// Tells systemd, if it is listening (`NOTIFY_SOCKET`). False if nobody asked to be told.
pub fn notify_service_manager(state: ServiceState<'_>) -> io::Result<bool> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(socket) => notify_at(socket.as_encoded_bytes(), state).map(|()| true),
        None => Ok(false),
    }
}

fn notify_at(socket: &[u8], state: ServiceState<'_>) -> io::Result<()> {
    let what = || format!("notify the service manager at {}", String::from_utf8_lossy(socket));
    let message = match state {
        ServiceState::Ready => "READY=1".into(),
        ServiceState::Stopping => "STOPPING=1".into(),
        // The manager wants the time, to tell this reload from an earlier one.
        ServiceState::Reloading => {
            format!("RELOADING=1\nMONOTONIC_USEC={}", super::clock::monotonic_ns() / 1000)
        }
        ServiceState::Status(line) => format!("STATUS={}", line.replace('\n', " ")),
    };
    let send = || {
        let address = match socket {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
        };
        UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)
    };
    send().map(drop).map_err(|cause| failed(what(), cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_descriptors_rises_as_far_as_it_may_and_never_falls() {
        let before = raise_fd_limit(0).expect("a limit");
        assert!(before > 0);
        assert_eq!(raise_fd_limit(before).ok(), Some(before));
        let most = raise_fd_limit(u64::MAX).expect("less than asked for is no error");
        assert!(most >= before);
        assert_eq!(raise_fd_limit(1).ok(), Some(most));
    }

    #[test]
    fn the_system_can_be_asked() {
        let (rss, total) = (rss_bytes().expect("procfs"), memory_total_bytes().expect("procfs"));
        assert!(rss > page_bytes());
        assert!(rss < total);
        assert!(pid() > 0);
        assert!(!hostname().is_empty());
        let name = system_name();
        assert_eq!(name.system, "Linux");
        assert!(!name.release.is_empty() && !name.machine.is_empty());
        assert_eq!(meminfo_bytes("MemTotal:  12 kB\nMemFree: 3 kB\n", "MemFree:"), Some(3072));
        for odd in ["", "MemTotal:", "MemTotal: x kB", "MemTotal: 99999999999999999999 kB"] {
            assert_eq!(meminfo_bytes(odd, "MemTotal:"), None, "{odd}");
        }
    }

    #[test]
    fn the_service_manager_is_told_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("notify");
        let abstract_name = format!("@dse-notify-test-{}", pid());
        let address = SocketAddr::from_abstract_name(&abstract_name[1..]).expect("a short name");
        let managers = [
            (path.as_os_str().as_bytes(), UnixDatagram::bind(&path).expect("a free path")),
            (abstract_name.as_bytes(), UnixDatagram::bind_addr(&address).expect("a free name")),
        ];
        for (name, manager) in managers {
            let told = |state| {
                notify_at(name, state).expect("the manager listens");
                let mut message = [0; 100];
                let len = manager.recv(&mut message).expect("a message was sent");
                String::from_utf8(message[..len].to_vec()).expect("text")
            };
            assert_eq!(told(ServiceState::Ready), "READY=1");
            assert_eq!(told(ServiceState::Stopping), "STOPPING=1");
            assert!(told(ServiceState::Reloading).starts_with("RELOADING=1\nMONOTONIC_USEC="));
            assert_eq!(told(ServiceState::Status("a\nb")), "STATUS=a b");
        }
        assert!(notify_at(b"/nobody/listens/here", ServiceState::Ready).is_err());
        assert!(notify_at(b"", ServiceState::Ready).is_err());
    }
}
