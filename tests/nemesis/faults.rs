//! What is done to a cluster under load. Each fault leaves every process running and every network
//! and disk whole; that the cluster is whole as well is waited for by who calls it.

use crate::common::random::Random;
use crate::common::wire::Client;
use crate::world::{NODES, World, address};
use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

/// A fault by its name.
pub struct Fault {
    pub name: &'static str,
    pub what: &'static str,
    pub strike: fn(&mut World, &mut Random) -> Outcome,
}

/// An error is something that no fault explains.
pub type Outcome = Result<(), String>;

const fn fault(
    name: &'static str,
    what: &'static str,
    strike: fn(&mut World, &mut Random) -> Outcome,
) -> Fault {
    Fault { name, what, strike }
}

/// All of them, in the order in which a campaign goes through them.
pub const FAULTS: &[Fault] = &[
    fault("kill", "kill -9 of one node, twice", kill),
    fault("kill-all", "kill -9 of all nodes at once", kill_all),
    fault("stop", "SIGSTOP of one node for up to 4 s, twice", stop),
    fault("isolate", "one node reaches no other, both ways", isolate),
    fault("one-way", "one direction of a node, or of a pair, is cut", one_way),
    fault("bridge", "two nodes do not reach each other, the third reaches both", bridge),
    fault("flap", "one node is cut off and back, many times", flap),
    fault("full", "the disk of a node is full", full),
    fault("power", "power cut of one node's disk", power),
    fault("power-all", "power cut of all disks at once", power_all),
    fault("wipe", "a node comes back with an empty disk", wipe),
    fault("clock", "wall clocks are set by up to a day, forth and back", clock),
    fault("freeze", "the disk of a node takes nothing for a while, many times", freeze),
    fault("rolling", "every node is ended and started, one after the other", rolling),
    fault("mixed", "one node is cut off while another is killed or stopped", mixed),
];

/// How long a cluster may take to be whole again.
const WHOLE: Duration = Duration::from_secs(60);

fn sleep_ms(from: usize, to: usize, random: &mut Random) {
    std::thread::sleep(Duration::from_millis((from + random.below(to - from)) as u64));
}

fn kill(world: &mut World, random: &mut Random) -> Outcome {
    for _ in 0..2 {
        let at = random.below(NODES);
        world.kill(at);
        sleep_ms(50, 2500, random);
        world.start_node(at);
        world.wait_until_whole(WHOLE)?;
        sleep_ms(50, 800, random);
    }
    Ok(())
}

fn kill_all(world: &mut World, random: &mut Random) -> Outcome {
    (0..NODES).for_each(|at| world.kill(at));
    sleep_ms(1, 300, random);
    (0..NODES).for_each(|at| world.start_node(at));
    Ok(())
}

fn stop(world: &mut World, random: &mut Random) -> Outcome {
    for _ in 0..2 {
        let at = random.below(NODES);
        world.signal(at, "STOP");
        sleep_ms(200, 4000, random);
        world.signal(at, "CONT");
        sleep_ms(300, 1000, random);
    }
    Ok(())
}

fn cut_off(world: &World, at: usize, is_cut: bool) {
    for other in (0..NODES).filter(|&other| other != at) {
        world.cut(at, other, is_cut);
        world.cut(other, at, is_cut);
    }
}

fn isolate(world: &mut World, random: &mut Random) -> Outcome {
    for _ in 0..2 {
        cut_off(world, random.below(NODES), true);
        sleep_ms(400, 3500, random);
        world.heal();
        sleep_ms(100, 1500, random);
    }
    Ok(())
}

fn one_way(world: &mut World, random: &mut Random) -> Outcome {
    for _ in 0..2 {
        let at = random.below(NODES);
        let is_deaf = random.chance(50);
        let is_pair = random.chance(30);
        for other in (0..NODES).filter(|&other| other != at).skip(usize::from(is_pair)) {
            match is_deaf {
                true => world.cut(other, at, true),
                false => world.cut(at, other, true),
            }
        }
        sleep_ms(400, 3500, random);
        world.heal();
        sleep_ms(100, 1500, random);
    }
    Ok(())
}

fn bridge(world: &mut World, random: &mut Random) -> Outcome {
    for _ in 0..2 {
        let (a, b) = (random.below(NODES), 1 + random.below(NODES - 1));
        let b = (a + b) % NODES;
        world.cut(a, b, true);
        world.cut(b, a, true);
        sleep_ms(400, 3500, random);
        world.heal();
        sleep_ms(100, 1500, random);
    }
    Ok(())
}

fn flap(world: &mut World, random: &mut Random) -> Outcome {
    let at = random.below(NODES);
    for _ in 0..8 {
        cut_off(world, at, true);
        sleep_ms(50, 900, random);
        world.heal();
        sleep_ms(20, 600, random);
    }
    Ok(())
}

/// Fills what is free on the disk of a node, in pieces that become smaller.
fn fill(world: &World, at: usize) {
    let path = |number: usize| world.disk(at).join(format!("filler-{number}"));
    let mut size_kib = 256 << 10;
    for number in 0.. {
        let file = path(number);
        File::create(&file).map(drop).unwrap_or_default();
        let size = format!("{size_kib}KiB");
        let done = Command::new("fallocate").args(["-l", &size]).arg(&file).output();
        if done.is_ok_and(|output| output.status.success()) {
            continue;
        }
        size_kib /= 2;
        if size_kib < 4 {
            break;
        }
    }
}

/// Whether a node has said that its disk takes nothing, or has ended over it.
fn feels_full(world: &mut World, at: usize, before: usize) -> bool {
    world.said(at).matches("slow or full").count() > before || world.has_ended(at)
}

fn full(world: &mut World, random: &mut Random) -> Outcome {
    let at = random.below(NODES);
    let before = world.said(at).matches("slow or full").count();
    fill(world, at);
    let until = Instant::now() + Duration::from_secs(20);
    while !feels_full(world, at, before) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    if !feels_full(world, at, before) {
        println!("  note: node-{} did not need the room that it did not have", at + 1);
    }
    sleep_ms(500, 4000, random);
    let files = std::fs::read_dir(world.disk(at)).map_err(|error| error.to_string())?;
    for file in files.flatten().filter(|file| file.file_name().as_encoded_bytes()[0] == b'f') {
        std::fs::remove_file(file.path()).map_err(|error| error.to_string())?;
    }
    // A node that cannot write its log ends by itself.
    if world.has_ended(at) {
        world.kill(at);
        world.start_node(at);
    }
    Ok(())
}

fn restart_on(world: &mut World, at: usize) {
    world.kill(at);
    world.unmount(at);
    world.mount(at);
}

fn power(world: &mut World, random: &mut Random) -> Outcome {
    for _ in 0..2 {
        let at = random.below(NODES);
        world.cut_power(at);
        sleep_ms(1, 1500, random);
        restart_on(world, at);
        world.start_node(at);
        world.wait_until_whole(WHOLE)?;
        sleep_ms(50, 800, random);
    }
    Ok(())
}

fn power_all(world: &mut World, random: &mut Random) -> Outcome {
    (0..NODES).for_each(|at| world.cut_power(at));
    sleep_ms(1, 200, random);
    (0..NODES).for_each(|at| restart_on(world, at));
    (0..NODES).for_each(|at| world.start_node(at));
    Ok(())
}

/// Whether a node says of every group that it has what is committed.
fn is_filled(at: usize) -> bool {
    let Ok(mut client) = Client::connect(address(at)) else { return false };
    let Ok(info) = client.call(&["INFO", "cluster"]) else { return false };
    let text = String::from_utf8_lossy(info.text().unwrap_or_default()).into_owned();
    let is_here = |line: &&str| line.starts_with("cluster_group_") && line.contains("applied=");
    text.lines().filter(is_here).filter(|line| !line.contains("applied=0,")).count() == 64
}

fn wipe(world: &mut World, random: &mut Random) -> Outcome {
    let at = random.below(NODES);
    let taken = world.said(at).matches("taken into the cluster").count();
    world.kill(at);
    sleep_ms(1, 1500, random);
    world.unmount(at);
    world.make_disk(at);
    world.mount(at);
    world.start_node(at);
    let until = Instant::now() + WHOLE;
    while world.said(at).matches("taken into the cluster").count() == taken || !is_filled(at) {
        if world.has_ended(at) {
            return Err(format!("node-{} ended on its empty disk", at + 1));
        }
        if Instant::now() > until {
            return Err(format!("node-{} was not filled again in {WHOLE:?}", at + 1));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // Until it counts in every group; who loses a second disk before that loses a majority.
    std::thread::sleep(Duration::from_secs(4));
    Ok(())
}

fn clock(world: &mut World, random: &mut Random) -> Outcome {
    if !world.has_faketime() {
        eprintln!("SKIPPED: clocks cannot be set: libfaketime is not installed");
        return Ok(());
    }
    for _ in 0..3 {
        let all = random.chance(30);
        let one = random.below(NODES);
        for at in (0..NODES).filter(|&at| all || at == one) {
            let sign = if random.chance(50) { '+' } else { '-' };
            let seconds = random.pick(&[2, 30, 600, 3600, 86_400]);
            world.set_clock(at, &format!("{sign}{seconds}"));
        }
        sleep_ms(1200, 2500, random);
    }
    (0..NODES).for_each(|at| world.set_clock(at, "+0"));
    sleep_ms(1200, 1500, random);
    Ok(())
}

fn freeze(world: &mut World, random: &mut Random) -> Outcome {
    let at = random.below(NODES);
    for _ in 0..6 {
        world.freeze(at, true);
        sleep_ms(20, 1200, random);
        world.freeze(at, false);
        sleep_ms(20, 500, random);
    }
    Ok(())
}

fn rolling(world: &mut World, _random: &mut Random) -> Outcome {
    for at in 0..NODES {
        world.signal(at, "TERM");
        if !world.wait_for_end(at, Duration::from_secs(20)) {
            return Err(format!("node-{} does not end at SIGTERM", at + 1));
        }
        world.start_node(at);
        world.wait_until_whole(WHOLE)?;
    }
    Ok(())
}

fn mixed(world: &mut World, random: &mut Random) -> Outcome {
    for _ in 0..2 {
        let at = random.below(NODES);
        let other = (at + 1 + random.below(NODES - 1)) % NODES;
        cut_off(world, at, true);
        sleep_ms(10, 1500, random);
        if random.chance(50) {
            world.kill(other);
            sleep_ms(10, 1500, random);
            world.start_node(other);
        } else {
            world.signal(other, "STOP");
            sleep_ms(10, 1500, random);
            world.signal(other, "CONT");
        }
        sleep_ms(10, 1000, random);
        world.heal();
        world.wait_until_whole(WHOLE)?;
    }
    Ok(())
}
