//! Rounds of load and faults, and the verdict.
//!
//! A round: clients begin on objects of their own, a fault strikes, the cluster must be whole
//! again, the clients end, each node is asked for every object once more, every object's history
//! is judged. Anything but "linearizable" fails, as do replies that no server may give and a
//! cluster that is not whole in time.

use crate::clients::{Ground, OBJECTS, Told, read_all, work};
use crate::common::random::Random;
use crate::faults::{FAULTS, Fault};
use crate::judge::{End, Kind, Op, Verdict, judge};
use crate::world::{NODES, World, enter};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const CLIENTS: u64 = 10;
/// How long everything may take to work again.
const WHOLE: Duration = Duration::from_secs(60);
const REQUESTS: usize = 1_000_000;
/// Objects that are shown when they are wrong.
const SHOWN_MAX: usize = 3;

/// What is to be done.
struct Plan {
    seed: u64,
    /// So many that are answered.
    requests: usize,
    faults: Vec<&'static Fault>,
    /// One answer of each round is falsified, which must be found.
    lies: bool,
    flags: Vec<String>,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Plan {
    fn of_environment() -> Plan {
        let names = variable("DSE_NEMESIS_FAULTS");
        let names: Vec<&str> = names.iter().flat_map(|names| names.split(',')).collect();
        let by_name = |name: &&str| {
            let found = FAULTS.iter().find(|fault| fault.name == *name);
            let all: Vec<_> =
                FAULTS.iter().map(|fault| format!("{}: {}", fault.name, fault.what)).collect();
            found.unwrap_or_else(|| panic!("no fault '{name}'; there are\n{}", all.join("\n")))
        };
        let faults = match names.is_empty() {
            true => FAULTS.iter().collect(),
            false => names.iter().map(by_name).collect(),
        };
        let number = |name| variable(name).map(|text| text.parse().expect("a number"));
        let flags = variable("DSE_NEMESIS_FLAGS").unwrap_or_default();
        Plan {
            seed: number("DSE_NEMESIS_SEED").unwrap_or_else(seed_of_the_moment),
            requests: number("DSE_NEMESIS_REQUESTS").map_or(REQUESTS, |number| number as usize),
            faults,
            lies: variable("DSE_NEMESIS_LIE").is_some(),
            flags: flags.split(' ').filter(|flag| !flag.is_empty()).map(str::to_string).collect(),
        }
    }
}

fn seed_of_the_moment() -> u64 {
    variable("DSE_NEMESIS_SEED").and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_nanos() as u64)
    })
}

/// Counts of a round, or of all.
#[derive(Default)]
struct Counts {
    requests: usize,
    answered: usize,
    refused: usize,
    unknown: usize,
    wrong: usize,
    undecided: usize,
    /// Replies that no server may give, clusters that are not whole.
    broken: usize,
    errors: BTreeMap<String, u64>,
}

impl Counts {
    fn of(told: &Told) -> Counts {
        let count = |is: fn(&End) -> bool| told.ops.iter().filter(|op| is(&op.end)).count();
        Counts {
            requests: told.ops.len(),
            answered: count(|end| matches!(end, End::Answered { .. })),
            refused: count(|end| *end == End::NotApplied),
            unknown: count(|end| *end == End::Open),
            errors: told.errors.clone(),
            broken: told.wrong.len(),
            ..Counts::default()
        }
    }

    fn add(&mut self, other: &Counts) {
        self.requests += other.requests;
        self.answered += other.answered;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.wrong += other.wrong;
        self.undecided += other.undecided;
        self.broken += other.broken;
        for (error, count) in &other.errors {
            *self.errors.entry(error.clone()).or_default() += count;
        }
    }

    fn failures(&self) -> usize {
        self.wrong + self.undecided + self.broken
    }

    fn line(&self) -> String {
        let errors: Vec<String> =
            self.errors.iter().map(|(error, count)| format!("{error} {count}")).collect();
        format!(
            "{:>8} {:>8} {:>7} {:>7} {:>5} {:>9} {:>6}  {}",
            self.requests,
            self.answered,
            self.refused,
            self.unknown,
            self.wrong,
            self.undecided,
            self.broken,
            errors.join(", ")
        )
    }
}

/// One round; what is wrong is printed.
fn round(
    world: &mut World,
    plan: &Plan,
    number: u64,
    fault: &Fault,
    random: &mut Random,
) -> Counts {
    let ground = Ground::new();
    let mut told = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (seed, ground) = (random.next(), &ground);
                scope.spawn(move || work(ground, number, seed, client % 2 == 1))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(500));
        let outcome = (fault.strike)(world, random).and_then(|()| world.wait_until_whole(WHOLE));
        std::thread::sleep(Duration::from_millis(500));
        // Relaxed: they look at it again and again.
        ground.stop.store(true, Ordering::Relaxed);
        let mut told = Told::default();
        for client in clients {
            told.add(client.join().expect("it ends"));
        }
        told.wrong.extend(outcome.err());
        told
    });
    if told.wrong.is_empty() {
        (0..NODES).for_each(|at| told.add(read_all(&ground, number, at, WHOLE)));
    }
    if plan.lies {
        lie(&mut told.ops);
    }
    let mut counts = Counts::of(&told);
    told.wrong.iter().take(SHOWN_MAX).for_each(|what| println!("  WRONG: {what}"));
    judge_all(told.ops, &mut counts);
    counts
}

fn judge_all(ops: Vec<Op>, counts: &mut Counts) {
    let mut objects: Vec<Vec<Op>> = vec![Vec::new(); OBJECTS as usize];
    ops.into_iter().for_each(|op| objects[op.object as usize].push(op));
    for (object, ops) in objects.into_iter().enumerate() {
        match judge(ops) {
            Verdict::Linearizable => {}
            Verdict::Undecided => {
                println!("  UNDECIDED: object {object}");
                counts.undecided += 1;
            }
            Verdict::Wrong(around) => {
                counts.wrong += 1;
                if counts.wrong <= SHOWN_MAX {
                    println!("  WRONG: object {object}: no order explains\n{around}");
                }
            }
        }
    }
}

/// Lets the last read of a counter miss the last increment, as a stale read does.
fn lie(ops: &mut [Op]) {
    let is_sum = |op: &&mut Op| {
        let is_read = op.object % 5 == 1 && op.kind == Kind::Read;
        is_read && matches!(op.end, End::Answered { got: 1.., .. })
    };
    if let Some(op) = ops.iter_mut().rev().find(is_sum)
        && let End::Answered { got, .. } = &mut op.end
    {
        *got -= 1;
    }
}

/// Goes through the faults until so many answers were judged.
fn run(plan: &Plan, world: &mut World) -> Counts {
    let mut random = Random::new(plan.seed);
    let mut all = Counts::default();
    let began = Instant::now();
    println!(
        "seed {}\n{:<5} {:<10} {:>6} {:>8} {:>8} {:>7} {:>7} {:>5} {:>9} {:>6}  errors",
        plan.seed,
        "round",
        "fault",
        "second",
        "requests",
        "answered",
        "refused",
        "unknown",
        "wrong",
        "undecided",
        "broken"
    );
    for number in 0.. {
        let fault = plan.faults[number % plan.faults.len()];
        let counts = round(world, plan, number as u64, fault, &mut random);
        let second = began.elapsed().as_secs();
        println!("{number:<5} {:<10} {second:>6} {}", fault.name, counts.line());
        let is_bad = counts.failures() > 0;
        all.add(&counts);
        let is_found = plan.lies && counts.wrong > 0;
        if is_bad && !is_found {
            show_nodes(world);
            break;
        }
        if plan.lies && !is_bad {
            println!("the lie of this round was not found");
            all.broken += 1;
            break;
        }
        if all.answered >= plan.requests && (number + 1) % plan.faults.len() == 0 {
            break;
        }
    }
    println!("{:<5} {:<10} {:>6} {}", "all", "", began.elapsed().as_secs(), all.line());
    all
}

/// The last that each node said.
fn show_nodes(world: &World) {
    for at in 0..NODES {
        let said = world.said(at);
        let lines: Vec<&str> = said.lines().collect();
        let last = &lines[lines.len().saturating_sub(12)..];
        println!("node-{} said last\n  {}", at + 1, last.join("\n  "));
    }
}

fn start(home: std::path::PathBuf, plan: &Plan) -> World {
    let mut world = World::start(home, plan.flags.clone());
    let outcome = world.wait_until_whole(WHOLE);
    if let Err(why) = outcome {
        show_nodes(&world);
        panic!("the cluster was not founded: {why}");
    }
    world
}

fn smoke(test: &str, names: &[&str]) {
    let Some(home) = enter(test) else { return };
    let faults = FAULTS.iter().filter(|fault| names.contains(&fault.name)).collect();
    let seed = seed_of_the_moment();
    let plan = Plan { seed, requests: 0, faults, lies: false, flags: Vec::new() };
    let all = run(&plan, &mut start(home, &plan));
    assert_eq!(all.failures(), 0, "seed {}", plan.seed);
    assert!(all.answered > 500, "hardly anything was answered");
}

#[test]
fn kills_stops_and_cuts_lose_nothing() {
    smoke("campaign::kills_stops_and_cuts_lose_nothing", &["kill", "stop", "isolate", "one-way"]);
}

#[test]
#[ignore = "writes much to the disk; scripts/mistakes runs it"]
fn power_cuts_lose_nothing() {
    smoke("campaign::power_cuts_lose_nothing", &["power-all", "power"]);
}

#[test]
#[ignore = "takes minutes; scripts/nemesis runs it"]
fn every_fault() {
    let Some(home) = enter("campaign::every_fault") else { return };
    let plan = Plan::of_environment();
    let all = run(&plan, &mut start(home, &plan));
    match (plan.lies, all.wrong > 0, all.undecided + all.broken) {
        (false, false, 0) => println!(
            "PASSED: {} requests answered, every history is linearizable; seed {}",
            all.answered, plan.seed
        ),
        (true, true, 0) => println!("PASSED: every lie was found; seed {}", plan.seed),
        _ => panic!("FAILED: seed {}", plan.seed),
    }
}
