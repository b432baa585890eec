//! A peer that knows the secret and sends whatever it likes: no node ends by it, and what a node
//! writes meanwhile can be read again.
//!
//! Three nodes form a cluster. Whatever any of them sends is kept; then messages are drawn from
//! that, changed at one place or several, and given to the first two nodes in the name of the
//! third, as if the connection were not closed after the first of them. A seed replays a run:
//!
//! ```text
//!   DSE_HOSTILE_SEED=7 cargo test --test hostile one_seed
//! ```

#[path = "hostile/forge.rs"]
mod forge;

use dse::cluster::core::group::{Cut, Request};
use dse::cluster::core::log::recover;
use dse::cluster::core::message::{GroupId, META, NodeId, PeerMessage};
use dse::cluster::core::table::Addresses;
use dse::cluster::core::{Node, NodeConfig, NodeInput, NodeOutput, StateRole};
use dse::util::rng::SplitMix64;
use forge::Forge;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

const NODES: usize = 3;
const GROUPS: GroupId = 2;
const TICK_US: u64 = 50_000;

/// Nodes whose disks and net are as fast as they are reliable.
struct Cluster {
    nodes: Vec<Node>,
    logs: Vec<Vec<Vec<u8>>>,
    applied: Vec<[u64; GROUPS as usize]>,
    now_us: u64,
    /// What was sent.
    sent: Vec<PeerMessage>,
    nonsense: usize,
}

fn config(at: usize) -> NodeConfig {
    let listed = (0..NODES).map(|node| (format!("node-{node}"), Addresses::default()));
    NodeConfig {
        name: format!("node-{at}"),
        listed: listed.collect(),
        data_groups: GROUPS,
        random: at as u64 + 1,
        wall_us: 1_000_000,
    }
}

impl Cluster {
    fn new() -> Cluster {
        let mut cluster = Cluster {
            nodes: Vec::new(),
            logs: vec![Vec::new(); NODES],
            applied: vec![[0; GROUPS as usize]; NODES],
            now_us: 0,
            sent: Vec::new(),
            nonsense: 0,
        };
        let mut first = Vec::new();
        for at in 0..NODES {
            let mut out = Vec::new();
            cluster.nodes.push(Node::new(config(at), Default::default(), 0, &mut out).unwrap());
            first.push(out);
        }
        for (at, out) in first.into_iter().enumerate() {
            let inputs: Vec<_> = out.into_iter().filter_map(|o| cluster.obey(at, o)).collect();
            inputs.into_iter().for_each(|(at, input)| cluster.step(at, input));
        }
        for (at, other) in (0..NODES).flat_map(|at| (0..NODES).map(move |other| (at, other))) {
            if at != other {
                cluster.step(at, NodeInput::PeerUp(cluster.id(other)));
            }
        }
        (0..60).for_each(|_| cluster.tick());
        cluster
    }

    fn id(&self, at: usize) -> NodeId {
        self.nodes[at].id()
    }

    fn tick(&mut self) {
        self.now_us += TICK_US;
        (0..NODES).for_each(|at| self.step(at, NodeInput::Tick));
    }

    fn step(&mut self, at: usize, input: NodeInput) {
        let mut inputs = VecDeque::from([(at, input)]);
        // Two leaders of one term may answer each other for ever; honest nodes never come near it.
        for _ in 0..20_000 {
            let Some((at, input)) = inputs.pop_front() else { return };
            let mut out = Vec::new();
            self.nodes[at].step(self.now_us, input, &mut out);
            self.nodes[at].flush(&mut out);
            inputs.extend(out.into_iter().filter_map(|output| self.obey(at, output)));
        }
    }

    fn obey(&mut self, at: usize, output: NodeOutput) -> Option<(usize, NodeInput)> {
        match output {
            NodeOutput::Persist { token, record } => {
                self.logs[at].push(record);
                Some((at, NodeInput::Persisted(token)))
            }
            NodeOutput::Send { to, message } => {
                if self.sent.len() < 4000 {
                    self.sent.push(message.clone());
                }
                let to = self.nodes.iter().position(|node| node.id() == to)?;
                Some((to, NodeInput::Receive { from: self.id(at), message }))
            }
            NodeOutput::Apply { group, entries } => {
                let index = entries.last()?.index;
                self.applied[at][usize::from(group)] = index;
                Some((at, NodeInput::Applied { group, index }))
            }
            NodeOutput::Begin { group, snapshot } => {
                self.applied[at][usize::from(group)] = snapshot.get_metadata().index;
                None
            }
            NodeOutput::Restore { group, snapshot } => {
                let index = snapshot.get_metadata().index;
                self.applied[at][usize::from(group)] = index;
                Some((at, NodeInput::Applied { group, index }))
            }
            NodeOutput::WantSnapshot { group } => Some((at, self.cut(at, group))),
            NodeOutput::Nonsense { .. } => {
                self.nonsense += 1;
                None
            }
            _ => None,
        }
    }

    fn cut(&self, at: usize, group: GroupId) -> NodeInput {
        let index = self.applied[at][usize::from(group)];
        let cut = Cut { index, time_us: 9, data: vec![7; 20], keep_from: index };
        NodeInput::Cut { group, cut }
    }

    /// What happens in a cluster that is used.
    fn live(&mut self, rng: &mut SplitMix64) {
        let (at, group) = (rng.below(3) as usize, rng.below(2) as GroupId);
        match rng.below(12) {
            0..6 => self.tick(),
            6..9 => {
                let requests = vec![Request { ticket: rng.next_u64(), bytes: vec![7; 20] }];
                self.step(at, NodeInput::Propose { group, requests });
            }
            9 => {
                let input = self.cut(at, group);
                self.step(at, input);
            }
            10 => self.step(at, NodeInput::Checkpoint),
            _ => {
                let to = self.id(rng.below(3) as usize);
                self.step(at, NodeInput::Transfer { group, to });
            }
        }
    }

    /// A node starts again on what it wrote.
    fn restart(&mut self, seed: u64, at: usize) {
        let start = recover(self.logs[at].iter().map(|record| &record[..]));
        let start = start.unwrap_or_else(|error| panic!("seed {seed}: node {at}: {error}"));
        let mut out = Vec::new();
        let node = Node::new(config(at), start, self.now_us, &mut out);
        self.nodes[at] = node.unwrap_or_else(|error| panic!("seed {seed}: node {at}: {error:?}"));
        let inputs: Vec<_> = out.into_iter().filter_map(|output| self.obey(at, output)).collect();
        inputs.into_iter().for_each(|(at, input)| self.step(at, input));
    }
}

/// Runs a seed; returns how many messages were taken for nonsense, and how many were tried.
fn run(seed: u64) -> (usize, usize) {
    let mut rng = SplitMix64::new(seed);
    let mut cluster = Cluster::new();
    let leads = |cluster: &Cluster, group| {
        let is_leader = |node: &&Node| {
            node.group(group).is_some_and(|group| group.role().role == StateRole::Leader)
        };
        cluster.nodes.iter().filter(is_leader).count()
    };
    assert!([0, 1, META].iter().all(|group| leads(&cluster, *group) == 1), "it works at first");
    let mut tried = 0;
    for _ in 0..300 {
        cluster.live(&mut rng);
        for _ in 0..rng.below(4) {
            let to = rng.below(2) as usize;
            let drawn = rng.below(cluster.sent.len() as u64) as usize;
            let mut forge = Forge { rng: &mut rng, target: &cluster.nodes[to] };
            let from = cluster.nodes[2].id();
            let Some(message) = forge.forge(&cluster.sent[drawn], from) else { continue };
            tried += 1;
            let shown = format!("{message:?}");
            let step = || cluster.step(to, NodeInput::Receive { from, message });
            if catch_unwind(AssertUnwindSafe(step)).is_err() {
                panic!("seed {seed}: node {to} ends by {shown:.2000}");
            }
        }
        if rng.below(40) == 0 {
            cluster.restart(seed, rng.below(2) as usize);
        }
    }
    (0..2).for_each(|at| cluster.restart(seed, at));
    (cluster.nonsense, tried)
}

#[test]
fn no_message_of_a_peer_ends_a_node() {
    let (mut nonsense, mut tried) = (0, 0);
    for seed in 1..=60 {
        println!("seed {seed}");
        let (of_seed, tried_here) = run(seed);
        nonsense += of_seed;
        tried += tried_here;
    }
    println!("{tried} messages, {nonsense} times nonsense");
    assert!(tried > 10_000, "hardly anything was tried: {tried}");
    assert!(nonsense > 100, "hardly anything was noticed: {nonsense}");
}

/// `DSE_HOSTILE_SEED` replays a seed.
#[test]
fn one_seed() {
    let seed = std::env::var("DSE_HOSTILE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    run(seed.unwrap_or(4711));
}

#[test]
#[ignore = "a campaign; DSE_HOSTILE_SEEDS says how many"]
fn many_seeds() {
    let count = std::env::var("DSE_HOSTILE_SEEDS").map_or(1000, |n| n.parse().expect("a number"));
    for seed in 1000..1000 + count {
        println!("seed {seed}");
        run(seed);
    }
}
