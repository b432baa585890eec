//! Which processors the process may use, where its threads run, and for how long at a time.

use super::failure::failed;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl;
use nix::unistd::Pid;
use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of a thread's name that the kernel keeps.
const THREAD_NAME_MAX: usize = 15;

/// Numbers of the processors that the calling thread may run on, ascending; never empty.
pub fn available_cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0));
    let cpus: Vec<usize> = match set {
        Ok(set) => (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).collect(),
        Err(_) => Vec::new(),
    };
    if !cpus.is_empty() {
        return cpus;
    }
    // A machine with more processors than the set has bits: a count is better than nothing.
    (0..std::thread::available_parallelism().map_or(1, usize::from)).collect()
}

/// Processors' worth of time that the control group grants (2.5: two and a half), the tightest of
/// all levels; `None` without a limit, or if it cannot be told.
pub fn cgroup_cpu_quota() -> Option<f64> {
    quota_under(Path::new("/sys/fs/cgroup"), &fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// Keeps the calling thread on `cpu`.
pub fn pin_current_thread(cpu: usize) -> io::Result<()> {
    let what = || format!("pin a thread to processor {cpu}");
    let mut set = CpuSet::new();
    set.set(cpu).map_err(|cause| failed(what(), cause))?;
    sched_setaffinity(Pid::from_raw(0), &set).map_err(|cause| failed(what(), cause))
}

/// Lets the calling thread run for `ns` at a time where it shares its processor: when it wakes, it
/// need not wait until a neighbour with a longer slice has used that up. A request, which Linux
/// obeys from 6.12 on. A thread that was given a policy for batches or real time keeps it.
pub fn ask_for_short_slice(ns: u64) -> io::Result<()> {
    const OTHER: u32 = libc::SCHED_OTHER as u32;
    let what = || format!("ask for a time slice of {ns} ns");
    let size = size_of::<libc::sched_attr>() as u32;
    let mut attr = libc::sched_attr {
        size,
        sched_policy: OTHER,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: [sys-047] I-SYSCALL: `attr` is ours, and `size` is its length.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) };
    Errno::result(got).map_err(|cause| failed(what(), cause))?;
    if attr.sched_policy != OTHER {
        return Ok(());
    }
    (attr.size, attr.sched_runtime) = (size, ns);
    // SAFETY: [sys-048] I-SYSCALL: `attr` is only read, as long as it says itself.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    Errno::result(set).map(drop).map_err(|cause| failed(what(), cause))
}

/// Names the calling thread, as `top -H` shows it; cut to 15 bytes.
pub fn set_thread_name(name: &str) -> io::Result<()> {
    let short: Vec<u8> = name.bytes().filter(|byte| *byte != 0).take(THREAD_NAME_MAX).collect();
    let short = CString::new(short).map_err(io::Error::other)?;
    prctl::set_name(&short).map_err(|cause| failed(format!("name a thread {name}"), cause))
}

/// The tightest limit on the way from the process's group up to `root`.
fn quota_under(root: &Path, groups: &str) -> Option<f64> {
    let mut tightest: Option<f64> = None;
    for line in groups.lines() {
        // hierarchy:controllers:path; version 2 has no controllers.
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let quota = if controllers.is_empty() {
            tightest_on_path(root, path, quota_v2)
        } else if controllers.split(',').any(|name| name == "cpu") {
            let mounts = [root.join(controllers), root.join("cpu")];
            mounts.iter().find_map(|mount| tightest_on_path(mount, path, quota_v1))
        } else {
            None
        };
        tightest = smaller(tightest, quota);
    }
    tightest
}

/// Within a container the path may name directories that only the host has: what does not exist
/// is passed over, and the root of the mount is always looked at.
fn tightest_on_path(mount: &Path, path: &str, read: fn(&Path) -> Option<f64>) -> Option<f64> {
    let mut dir: PathBuf = mount.to_path_buf();
    let mut tightest = read(&dir);
    for part in path.split('/').filter(|part| !part.is_empty() && *part != "..") {
        dir.push(part);
        tightest = smaller(tightest, read(&dir));
    }
    tightest
}

fn smaller(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn quota_v2(dir: &Path) -> Option<f64> {
    let text = fs::read_to_string(dir.join("cpu.max")).ok()?;
    let mut words = text.split_ascii_whitespace();
    ratio(words.next()?, words.next()?)
}

fn quota_v1(dir: &Path) -> Option<f64> {
    let quota = fs::read_to_string(dir.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(dir.join("cpu.cfs_period_us")).ok()?;
    ratio(quota.trim(), period.trim())
}

/// "max" and -1 say that there is no limit; so does anything that is no number.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = period.parse().ok()?;
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, text: &str) {
        fs::create_dir_all(dir).expect("the test's own directory");
        fs::write(dir.join(name), text).expect("the test's own directory");
    }

    #[test]
    fn version_2_takes_the_tightest_level() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let root = root.path();
        write(&root.join("a"), "cpu.max", "150000 100000\n");
        write(&root.join("a/b"), "cpu.max", "max 100000\n");
        assert_eq!(quota_under(root, "0::/a/b\n"), Some(1.5));
        write(&root.join("a/b"), "cpu.max", "50000 100000\n");
        assert_eq!(quota_under(root, "0::/a/b\n"), Some(0.5));
        assert_eq!(quota_under(root, "0::/only/on/the/host\n"), None);
        write(root, "cpu.max", "400000 100000\n");
        assert_eq!(quota_under(root, "0::/only/on/the/host\n"), Some(4.0));
    }

    #[test]
    fn version_1_is_read_wherever_it_is_mounted() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let root = root.path();
        let groups = "12:memory:/x\n4:cpu,cpuacct:/x\n1:name=systemd:/x\n";
        assert_eq!(quota_under(root, groups), None);
        let dir = root.join("cpu,cpuacct/x");
        write(&dir, "cpu.cfs_quota_us", "-1\n");
        write(&dir, "cpu.cfs_period_us", "100000\n");
        assert_eq!(quota_under(root, groups), None);
        write(&dir, "cpu.cfs_quota_us", "250000\n");
        assert_eq!(quota_under(root, groups), Some(2.5));
        let other = tempfile::tempdir().expect("a temporary directory");
        write(&other.path().join("cpu"), "cpu.cfs_quota_us", "100000");
        write(&other.path().join("cpu"), "cpu.cfs_period_us", "100000");
        assert_eq!(quota_under(other.path(), groups), Some(1.0));
    }

    #[test]
    fn nonsense_is_no_limit() {
        let root = tempfile::tempdir().expect("a temporary directory");
        for text in ["", "max", "max 100000", "0 100000", "-5 100000", "1 0", "a b", "9e9 1", "1"] {
            write(root.path(), "cpu.max", text);
            assert_eq!(quota_under(root.path(), "0::/"), None, "{text}");
        }
        for groups in ["", ":", "::", "0:", "junk", "0::", "\0:\0:\0"] {
            let _ = quota_under(root.path(), groups);
        }
    }

    #[test]
    fn a_pinned_thread_has_one_processor_and_a_name() {
        let cpus = available_cpus();
        assert!(!cpus.is_empty());
        assert!(cpus.is_sorted());
        let last = cpus[cpus.len() - 1];
        std::thread::spawn(move || {
            pin_current_thread(last).expect("a processor of our own mask");
            assert_eq!(available_cpus(), [last]);
            set_thread_name("a-name-that-is-too-long").expect("any name will do");
            let name = fs::read_to_string("/proc/thread-self/comm").expect("procfs");
            assert_eq!(name.trim_end(), "a-name-that-is-");
        })
        .join()
        .expect("the thread's assertions hold");
        assert!(pin_current_thread(1_000_000).is_err());
    }

    #[test]
    fn a_thread_with_a_short_slice_keeps_its_nice_value() {
        let field = |name: &str| {
            let text = fs::read_to_string("/proc/thread-self/sched").ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split(':').nth(1)?.trim().parse::<u64>().ok()
        };
        std::thread::spawn(move || {
            let (before, slice) = (field("prio"), field("se.slice"));
            ask_for_short_slice(300_000).expect("any thread may");
            assert_eq!(field("prio"), before);
            // Kernels that do not know it say nothing, or what they have themselves.
            assert!([slice, Some(300_000)].contains(&field("se.slice")));
            ask_for_short_slice(200_000).expect("again");
        })
        .join()
        .expect("the thread's assertions hold");
    }

    #[test]
    fn this_machine_can_be_asked() {
        assert!(cgroup_cpu_quota().is_none_or(|quota| quota > 0.0));
    }
}
