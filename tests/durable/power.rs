//! Power cuts: the server's file system stops taking anything at a moment under load, and comes
//! back as a disk would after the power did. Needs root, and is run by `scripts/power_cut`.
//!
//! An ext4 on a loop device is told to shut down without flushing its journal: names, lengths and
//! page cache that were not synced are gone. What was written past the page cache has reached
//! the device, so losses of unsynced data only show where the file system has no such writes:
//! every other round mounts it with `data=journal`, which puts everything through the cache.

use super::load::{Load, Settled};
use super::{flags, program, seed};
use crate::common::random::Random;
use crate::common::server::Server;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Tells the file system of the directory to shut down at once (EXT4_GOING_FLAGS_NOLOGFLUSH).
const SHUT_DOWN: &str = "import fcntl, os, struct, sys\n\
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

/// These servers are told to sync before each reply when they have worked for a while.
const LAZY_FIRST: &[&str] = &["--appendfsync", "everysec"];

/// Connections of one cut have numbers from a hundred of their own.
const NUMBERS_PER_CUT: u64 = 100;

/// After so many cuts the file system is made anew, so that looking at it stays cheap.
const CUTS_KEPT: u64 = 10;

/// Size of the file system.
const MEBIBYTES: u64 = 512;

/// A file system in a file, mounted on the data directory of `home`.
pub struct Volume {
    image: PathBuf,
    data: PathBuf,
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().expect("the program is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

impl Volume {
    /// A fresh one of so many MiB.
    pub fn new(home: &Path, mebibytes: u64) -> Volume {
        let volume = Volume { image: home.join("image"), data: home.join("data") };
        std::fs::create_dir_all(&volume.data).expect("made");
        let file = std::fs::File::create(&volume.image).expect("made");
        file.set_len(mebibytes << 20).expect("sized");
        run("mkfs.ext4", &["-q", text(&volume.image)]);
        volume
    }

    pub fn mount(&self, journals_data: bool) {
        let options = if journals_data { "loop,data=journal" } else { "loop" };
        run("mount", &["-o", options, text(&self.image), text(&self.data)]);
    }

    fn cut(&self) {
        run("python3", &["-c", SHUT_DOWN, text(&self.data)]);
    }

    pub fn unmount(&self) {
        run("umount", &[text(&self.data)]);
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // It is mounted only when a test failed.
        let _ = Command::new("umount").arg(&self.data).output();
    }
}

/// One cut under load; what was lost, if anything was.
fn cut_once(
    home: &Path,
    volume: &Volume,
    more: &[&str],
    round: u64,
    random: &mut Random,
    settled: &mut Settled,
) -> Result<u64, String> {
    let journals_data = round.is_multiple_of(2);
    volume.mount(journals_data);
    let server = Server::dse_in(program(), home, &flags(more))?;
    let load = Load::start_on_failing_disk(server.address, round * NUMBERS_PER_CUT);
    std::thread::sleep(Duration::from_millis(100 + random.below(500) as u64));
    if more == LAZY_FIRST {
        let mut client = server.client();
        let reply = client.call(&["CONFIG", "SET", "appendfsync", "always"]);
        assert!(reply.is_ok_and(|reply| !reply.is_error()), "the mode can be changed");
        // This reply waits for the disk, and for all that was answered before: a busy disk may
        // take longer than any sleep for that.
        let reply = client.call(&["SET", "after the change", "1"]);
        assert!(reply.is_ok_and(|reply| !reply.is_error()), "a write is answered");
        std::thread::sleep(Duration::from_millis(100));
    }
    if random.chance(40) {
        // While one is under way a second one is refused, which is as good.
        let _ = server.client().call(&["BGSAVE"]);
        std::thread::sleep(Duration::from_millis(random.below(60) as u64));
    }
    volume.cut();
    // Whoever is answered now is answered wrongly, or by a read.
    std::thread::sleep(Duration::from_millis(random.below(100) as u64));
    server.kill();
    let histories = load.finish()?;
    volume.unmount();
    volume.mount(journals_data);
    let outcome = Server::dse_in(program(), home, &flags(more)).and_then(|server| {
        let outcome = settled.verify(&server, &histories);
        server.kill();
        outcome
    });
    volume.unmount();
    outcome.map(|()| histories.iter().map(|history| history.acknowledged).sum())
}

/// So many cuts, one after the other; none may lose anything.
fn cut(cuts: u64, more: &[&str]) {
    let seed = seed();
    let (mut random, mut settled) = (Random::new(seed), Settled::default());
    let home = tempfile::tempdir().expect("a directory");
    let volume = Volume::new(home.path(), MEBIBYTES);
    let mut acknowledged = 0;
    for round in 0..cuts {
        if round % CUTS_KEPT == CUTS_KEPT - 1 {
            run("mkfs.ext4", &["-q", "-F", text(&volume.image)]);
            settled.clear();
        }
        match cut_once(home.path(), &volume, more, round, &mut random, &mut settled) {
            Ok(count) => acknowledged += count,
            Err(error) => panic!("cut {round}, seed {seed}: {error}"),
        }
    }
    println!("{cuts} cuts: {acknowledged} operations acknowledged, none is missing");
    assert!(acknowledged > 50 * cuts, "hardly anything was done");
}

fn cuts() -> u64 {
    let given = std::env::var("DSE_POWER_CUTS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(20)
}

#[test]
#[ignore = "needs root; scripts/power_cut runs it"]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    cut(cuts(), &[]);
}

/// What was written through the page cache before is synced, and further writes go past it.
#[test]
#[ignore = "needs root; scripts/power_cut runs it"]
fn a_power_cut_after_the_mode_became_always_loses_nothing_either() {
    cut(cuts().div_ceil(4), LAZY_FIRST);
}

#[test]
#[ignore = "needs root; scripts/power_cut runs it"]
fn without_syncs_a_power_cut_is_seen_to_lose() {
    let mut random = Random::new(seed());
    let lost = (0..6).filter(|cut| {
        let home = tempfile::tempdir().expect("a directory");
        let volume = Volume::new(home.path(), MEBIBYTES);
        let mode = ["--appendfsync", "no"];
        // An even round: through the page cache.
        let outcome =
            cut_once(home.path(), &volume, &mode, 2 * cut, &mut random, &mut Settled::default());
        outcome.is_err_and(|why| {
            println!("{}", why.chars().take(160).collect::<String>());
            true
        })
    });
    let lost = lost.count();
    println!("6 cuts without syncs: {lost} lost something");
    assert!(lost > 0, "these tests would not notice a loss");
}
