//! Time that the consensus takes for a command: the groups of three replicas in one thread, with
//! messages that arrive at once and a disk that is durable at once. What is measured is the whole
//! way of an entry: proposed, written, sent, acknowledged, committed and applied on all three.
//!
//! `cargo bench --bench consensus`. A step is one entry of so many commands; criterion's
//! throughput is in commands.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dse::cluster::core::group::{Cut, Group, Input, Output, Request, Start, birth};
use dse::limits::GROUP_TICK_US;
use std::hint::black_box;

const REPLICAS: [u64; 3] = [11, 12, 13];
const COMMANDS: [usize; 4] = [1, 8, 32, 128];
/// Bytes of a command: a SET of a short key and value.
const BYTES: usize = 64;
/// Entries that are kept behind a snapshot; else the log would grow without end.
const ENTRIES_KEPT: u64 = 1000;

struct Cluster {
    groups: Vec<Group>,
    leader: usize,
    now_us: u64,
    ticket: u64,
    out: Vec<Output>,
    applied: [u64; 3],
}

impl Cluster {
    fn new() -> Cluster {
        let snapshot = birth(&REPLICAS, 1, &[]);
        let group = |replica| {
            let start = Start {
                replica,
                hard_state: Default::default(),
                snapshot: snapshot.clone(),
                entries: Vec::new(),
                order: REPLICAS.to_vec(),
            };
            Group::new(start, 1).unwrap_or_else(|error| panic!("{error:?}"))
        };
        let groups = REPLICAS.into_iter().map(group).collect();
        let mut cluster =
            Cluster { groups, leader: 0, now_us: 1, ticket: 0, out: Vec::new(), applied: [1; 3] };
        while !cluster.groups.iter().any(Group::leads) {
            cluster.now_us += GROUP_TICK_US;
            (0..3).for_each(|at| cluster.step(at, Input::Tick));
        }
        let leads = cluster.groups.iter().position(Group::leads);
        cluster.leader = leads.unwrap_or_default();
        cluster
    }

    /// Steps one replica, and all that follows from it.
    fn step(&mut self, at: usize, input: Input) {
        let mut inputs = vec![(at, input)];
        while let Some((at, input)) = inputs.pop() {
            self.groups[at].step(self.now_us, input, &mut self.out);
            let outputs = std::mem::take(&mut self.out);
            let first = inputs.len();
            for output in outputs {
                match output {
                    Output::Persist(persist) => inputs.push((at, Input::Persisted(persist.token))),
                    Output::Send(message) => {
                        let to = REPLICAS.iter().position(|&replica| replica == message.to);
                        inputs.push((to.unwrap_or_default(), Input::Receive(message)));
                    }
                    Output::Apply(entries) => {
                        let last = entries.last().map_or(self.applied[at], |entry| entry.index);
                        black_box(&entries);
                        self.applied[at] = last;
                        inputs.push((at, Input::Applied(last)));
                    }
                    _ => {}
                }
            }
            // What came out first is done first.
            inputs[first..].reverse();
        }
    }

    /// One entry of so many commands, until it is applied everywhere.
    fn entry(&mut self, commands: usize) {
        let requests = (0..commands).map(|_| {
            self.ticket += 1;
            Request { ticket: self.ticket, bytes: vec![7; BYTES] }
        });
        let requests = requests.collect();
        let before = self.applied[self.leader];
        self.step(self.leader, Input::Propose(requests));
        assert!(self.applied[self.leader] > before, "it is applied at once");
        // Followers learn of the commit with the next entry; the log is cut now and then.
        if before.is_multiple_of(ENTRIES_KEPT) {
            (0..3).for_each(|at| self.cut(at));
        }
    }

    fn cut(&mut self, at: usize) {
        let index = self.applied[at];
        let keep_from = index.saturating_sub(ENTRIES_KEPT);
        self.step(at, Input::Cut(Cut { index, time_us: 1, data: Vec::new(), keep_from }));
    }
}

fn commands(c: &mut Criterion) {
    let mut group = c.benchmark_group("consensus");
    for count in COMMANDS {
        let mut cluster = Cluster::new();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("entry", count), |b| {
            b.iter(|| cluster.entry(black_box(count)));
        });
    }
    group.finish();
}

criterion_group!(benches, commands);
criterion_main!(benches);
