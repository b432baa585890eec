//! The loop of one client thread.
//!
//! Edge-triggered epoll, one receive for each event as a rule, and one send for each batch: three
//! system calls at most for a batch, and fewer when several connections are ready at once.

use super::conn::{Batch, Conn, Said, Verifier};
use super::run::{Amount, Plan, Shared};
use super::scan::NotAReply;
use super::target::Target;
use crate::bench::error::BenchError;
use crate::bench::load::builder::Builder;
use crate::bench::load::model::Model;
use crate::limits::{BENCH_FILL_BATCH, BENCH_RECEIVE_BYTES, EPOLL_EVENTS};
use crate::sys::clock::{monotonic_ns, thread_cpu_ns};
use crate::sys::epoll::{Epoll, Event, Events, Interest};
use crate::sys::socket;
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering::Relaxed;

/// Longest latency that is told apart from longer ones, ns: an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// Milliseconds after which a quiet thread looks whether it should end.
const LOOK_UP_MS: u32 = 100;

/// A histogram of latencies in nanoseconds, to three digits.
pub(super) fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are in order")
}

/// What one thread has seen.
pub(super) struct Tally {
    pub histogram: Histogram<u64>,
    pub errors: u64,
    pub wrong: u64,
    pub first: Option<String>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub last_reply_ns: u64,
    pub cpu_ns: u64,
}

/// One client thread.
pub(super) struct Worker<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    index: usize,
    conns: Vec<Conn>,
    epoll: Epoll,
    builder: Builder,
    input: Vec<u8>,
    tally: Tally,
    /// Connections that wait for a reply.
    busy: usize,
    /// Models are being filled; nothing is measured.
    filling: bool,
    window: Window,
    /// With a rate: connections that can take a request.
    free: VecDeque<usize>,
    /// With a rate: requests sent by this thread.
    issued: u64,
}

/// What is measured, as times of the monotonic clock.
#[derive(Clone, Copy, Default)]
struct Window {
    start_ns: u64,
    end_ns: u64,
}

impl<'a> Worker<'a> {
    /// Connects, and brings what is verified into a known state.
    pub(super) fn prepare(
        plan: &'a Plan,
        shared: &'a Shared,
        index: usize,
    ) -> Result<Worker<'a>, BenchError> {
        let epoll = Epoll::new()?;
        let mut conns = Vec::new();
        for number in (index..plan.clients).step_by(plan.threads) {
            let node = number % plan.nodes.len();
            let fd = plan.nodes[node].target.open()?.into_fd()?;
            epoll.add(&fd, conns.len() as u64, Interest::CONNECTION)?;
            let verifier = plan.verify.map(|verify| {
                let model = Model::new(number, plan.clients, verify.key_space, verify.value_bytes);
                Verifier::new(model)
            });
            conns.push(Conn::new(fd, node, verifier));
        }
        let ops = plan.ops.clone();
        let builder = Builder::new(ops, plan.keys.clone(), plan.seed, index, plan.threads);
        let mut worker = Worker {
            plan,
            shared,
            index,
            conns,
            epoll,
            builder,
            input: vec![0; BENCH_RECEIVE_BYTES],
            tally: Tally {
                histogram: latency_histogram(),
                errors: 0,
                wrong: 0,
                first: None,
                bytes_in: 0,
                bytes_out: 0,
                last_reply_ns: 0,
                cpu_ns: 0,
            },
            busy: 0,
            filling: false,
            window: Window::default(),
            free: VecDeque::new(),
            issued: 0,
        };
        worker.fill()?;
        Ok(worker)
    }

    fn fill(&mut self) -> Result<(), BenchError> {
        let fills = self.builder.fills() as u64;
        if self.plan.verify.is_none() || fills == 0 {
            self.conns.iter_mut().for_each(|conn| conn.unfilled = 0);
            return Ok(());
        }
        self.filling = true;
        self.drive()?;
        self.filling = false;
        Ok(())
    }

    /// Runs until the work is done, and gives what was seen.
    pub(super) fn run(mut self) -> Result<Tally, BenchError> {
        self.window.start_ns = self.shared.start_ns.load(Relaxed);
        self.window.end_ns = match self.plan.amount {
            Amount::Requests(_) => u64::MAX,
            Amount::Time(time) => self.window.start_ns + time.as_nanos() as u64,
        };
        let cpu_before = thread_cpu_ns();
        self.tally.cpu_ns = cpu_before;
        self.drive()?;
        self.tally.cpu_ns = thread_cpu_ns() - self.tally.cpu_ns;
        Ok(self.tally)
    }

    fn drive(&mut self) -> Result<(), BenchError> {
        let mut events = Events::with_capacity(EPOLL_EVENTS);
        let mut now = monotonic_ns();
        let mut heard_ns = now;
        let mut warm = now >= self.window.start_ns;
        let paced = self.plan.rate.filter(|_| !self.filling);
        if paced.is_some() {
            (0..self.conns.len()).for_each(|at| self.line_up(at));
        } else {
            for at in 0..self.conns.len() {
                self.next_batch(at, now)?;
            }
        }
        loop {
            let timeout = match paced {
                Some(rate) => self.pace(rate)?,
                None if self.busy == 0 => return Ok(()),
                None => Some(LOOK_UP_MS),
            };
            let Some(timeout) = timeout else { return Ok(()) };
            let count = self.epoll.wait(&mut events, Some(timeout))?;
            for event in (0..count).filter_map(|at| events.get(at)) {
                now = self.handle(event)?;
            }
            if count == 0 {
                if timeout == 0 {
                    std::thread::yield_now();
                }
                now = monotonic_ns();
            } else {
                heard_ns = now;
            }
            if !warm && now >= self.window.start_ns {
                warm = true;
                self.tally.cpu_ns = thread_cpu_ns();
            }
            self.shared.done[self.index].store(self.tally.histogram.len(), Relaxed);
            if self.shared.stop.load(Relaxed) {
                return Ok(());
            }
            if self.busy > 0 && now.saturating_sub(heard_ns) > self.plan.silence.as_nanos() as u64 {
                let address = self.plan.nodes[0].target.address();
                return Err(BenchError::Silent { address, seconds: self.plan.silence.as_secs() });
            }
        }
    }

    /// Serves one event. Returns the time at which it was.
    fn handle(&mut self, event: Event) -> Result<u64, BenchError> {
        let at = event.token as usize;
        if event.writable() && !self.conns[at].is_flushed() {
            self.pump(at)?;
        }
        let mut now = 0;
        while event.readable() || event.hangup() || event.error() {
            let conn = &mut self.conns[at];
            let count = match socket::recv(&conn.fd, &mut self.input) {
                Ok(0) => return Err(self.lost(at, io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(self.lost(at, error)),
            };
            now = monotonic_ns();
            self.tally.bytes_in += count as u64;
            let mut said = Said::default();
            conn.take(&self.input[..count], &mut said)
                .map_err(|error| self.malformed(at, error))?;
            if said.replies > 0 {
                self.answered(at, said, now)?;
            }
            if count < self.input.len() {
                break;
            }
        }
        Ok(if now == 0 { monotonic_ns() } else { now })
    }

    /// Notes replies, and sends what follows them.
    #[inline]
    fn answered(&mut self, at: usize, said: Said, now: u64) -> Result<(), BenchError> {
        let Worker { conns, tally, window, plan, filling, .. } = self;
        let conn = &mut conns[at];
        let counted = |batch: Batch| {
            !*filling
                && match (plan.amount, plan.rate) {
                    (Amount::Time(_), None) => (window.start_ns..window.end_ns).contains(&now),
                    _ => (window.start_ns..window.end_ns).contains(&batch.at_ns),
                }
        };
        let settled = conn.settle(said.replies, |batch, count| {
            if counted(batch) {
                let latency = now.saturating_sub(batch.at_ns).max(1);
                tally.histogram.saturating_record_n(latency, u64::from(count));
                tally.last_reply_ns = now;
            }
        });
        tally.errors += said.errors;
        tally.wrong += said.wrong;
        if tally.first.is_none() {
            tally.first = said.first;
        }
        let is_idle = conn.awaited == 0;
        settled.map_err(|error| self.malformed(at, error))?;
        self.busy -= usize::from(is_idle);
        if self.plan.rate.is_some() && !self.filling {
            self.line_up(at);
            return Ok(());
        }
        if is_idle {
            if self.plan.reconnect && !self.filling {
                let node = self.conns[at].node;
                self.conns[at].reopen(&self.plan.nodes[node].target)?;
                self.epoll.add(&self.conns[at].fd, at as u64, Interest::CONNECTION)?;
            }
            // Where replies are few, reading the clock again costs more than it tells.
            let now = if said.replies > 1 { monotonic_ns() } else { now };
            self.next_batch(at, now)?;
        }
        Ok(())
    }

    /// Puts a connection that has room into the line, unless it is there.
    fn line_up(&mut self, at: usize) {
        let conn = &mut self.conns[at];
        if !conn.in_line && conn.awaited < self.plan.pipeline {
            conn.in_line = true;
            self.free.push_back(at);
        }
    }

    /// Starts the next batch of a connection, if there is more to do.
    #[inline]
    fn next_batch(&mut self, at: usize, now: u64) -> Result<(), BenchError> {
        let count = if self.filling {
            self.conns[at].unfilled.min(BENCH_FILL_BATCH) as usize * self.builder.fills()
        } else if now < self.window.start_ns {
            self.plan.pipeline
        } else if now >= self.window.end_ns {
            0
        } else {
            self.shared.claim(self.plan.pipeline)
        };
        if count > 0 {
            self.conns[at].add(now, count);
            self.busy += 1;
            self.pump(at)?;
        }
        Ok(())
    }

    #[inline]
    fn pump(&mut self, at: usize) -> Result<(), BenchError> {
        let conn = &mut self.conns[at];
        let tags = &self.plan.nodes[conn.node].tags;
        match conn.pump(&mut self.builder, tags) {
            Ok(bytes) => self.tally.bytes_out += bytes,
            Err(error) => return Err(self.lost(at, error)),
        }
        Ok(())
    }

    /// Sends what is due at this rate, as far as connections have room. Returns how long to wait
    /// for events, in ms, or `None` when everything was sent and answered.
    fn pace(&mut self, rate: f64) -> Result<Option<u32>, BenchError> {
        // Threads take turns: request k of this one is number k * threads + index of all.
        let gap_ns = 1e9 / rate;
        let (threads, index) = (self.plan.threads as u64, self.index as u64);
        let begin = self.shared.began_ns.load(Relaxed);
        let due_at = |k: u64| begin + ((k * threads + index) as f64 * gap_ns) as u64;
        loop {
            let due = due_at(self.issued);
            if due >= self.window.end_ns {
                return Ok((self.busy > 0).then_some(LOOK_UP_MS));
            }
            let now = monotonic_ns();
            if due > now {
                // Below a millisecond there is nothing to sleep on but the processor.
                return Ok(Some(((due - now) / 1_000_000).min(u64::from(LOOK_UP_MS)) as u32));
            }
            if self.free.is_empty() {
                return Ok(Some(LOOK_UP_MS));
            }
            if due >= self.window.start_ns && self.shared.claim(1) == 0 {
                self.window.end_ns = due;
                continue;
            }
            let Some(at) = self.free.pop_front() else { continue };
            self.issued += 1;
            let conn = &mut self.conns[at];
            self.busy += usize::from(conn.awaited == 0);
            conn.in_line = false;
            conn.add(due, 1);
            self.line_up(at);
            self.pump(at)?;
        }
    }

    fn target(&self, at: usize) -> &Target {
        &self.plan.nodes[self.conns[at].node].target
    }

    fn lost(&self, at: usize, cause: io::Error) -> BenchError {
        BenchError::Lost { address: self.target(at).address(), cause }
    }

    fn malformed(&self, at: usize, error: NotAReply) -> BenchError {
        BenchError::Malformed { address: self.target(at).address(), what: error.0 }
    }
}
