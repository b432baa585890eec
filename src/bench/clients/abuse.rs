//! Clients that a server must bear with: they ask for more than they read, or never finish.
//!
//! - *Slow readers* ask for far more than they take, a few kilobytes at a time.
//! - *Unread pipeliners* send all that the server takes of 17 MB of requests, and read nothing.
//! - *Half-sent requests* begin a request and leave it there.
//!
//! They run in a thread of their own until they are dropped.

use crate::bench::client::target::Target;
use crate::bench::error::BenchError;
use crate::limits::{
    BENCH_ABUSE_HALF_SENT, BENCH_ABUSE_REQUEST_BYTES, BENCH_ABUSE_SIP_BYTES,
    BENCH_ABUSE_SLOW_READERS, BENCH_ABUSE_UNREAD, BENCH_ABUSE_VALUE_BYTES, BENCH_SEND_BYTES,
};
use crate::sys::socket;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

/// The key that they ask for.
const KEY: &str = "abuse:value";
/// How often they try to send, and slow readers read.
const EVERY: Duration = Duration::from_millis(20);

/// Beginnings of requests; what follows never comes.
const HALVES: [&[u8]; 4] = [
    b"*",
    b"*3\r\n$3\r\nSET\r\n$10\r\nabuse:half",
    b"*3\r\n$3\r\nSET\r\n$10\r\nabuse:half\r\n$100000000\r\nonly a few bytes of many",
    b"*1000000\r\n$3\r\nDEL\r\n$1\r\na\r\n",
];

/// Bad clients at work.
pub struct Abuse {
    stop: Arc<AtomicBool>,
    closed: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Abuse {
    /// Connects all of them, and lets them begin.
    pub fn begin(target: &Target) -> Result<Abuse, BenchError> {
        target.open()?.demand(&[b"SET", KEY.as_bytes(), &[b'x'; BENCH_ABUSE_VALUE_BYTES]])?;
        let mut crowd = Vec::new();
        let kinds = [
            (BENCH_ABUSE_SLOW_READERS, Manner::SlowReader),
            (BENCH_ABUSE_UNREAD, Manner::Unread),
            (BENCH_ABUSE_HALF_SENT, Manner::HalfSent),
        ];
        for (count, manner) in kinds {
            for number in 0..count {
                let fd = target.open()?.into_fd()?;
                if manner == Manner::HalfSent {
                    socket::send(&fd, HALVES[number % HALVES.len()])?;
                }
                crowd.push(Client { fd: Some(fd), manner, sent: 0 });
            }
        }
        let (stop, closed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let shared = (Arc::clone(&stop), Arc::clone(&closed));
        let thread = std::thread::spawn(move || behave(crowd, &shared.0, &shared.1));
        Ok(Abuse { stop, closed, thread: Some(thread) })
    }

    /// How many there are.
    pub fn size() -> usize {
        BENCH_ABUSE_SLOW_READERS + BENCH_ABUSE_UNREAD + BENCH_ABUSE_HALF_SENT
    }

    /// How many of them the server has closed.
    pub fn closed(&self) -> usize {
        // Relaxed: a count to be told.
        self.closed.load(Relaxed)
    }
}

impl Drop for Abuse {
    fn drop(&mut self) {
        // Relaxed: sooner or later is soon enough, and the join orders the rest.
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; there is nothing to add.
            _ = thread.join();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    SlowReader,
    Unread,
    HalfSent,
}

struct Client {
    /// `None`: the server has closed it.
    fd: Option<OwnedFd>,
    manner: Manner,
    sent: usize,
}

fn behave(mut crowd: Vec<Client>, stop: &AtomicBool, closed: &AtomicUsize) {
    let request = format!("*2\r\n$3\r\nGET\r\n${}\r\n{KEY}\r\n", KEY.len());
    // Whole requests, so that the next send may begin at any place of the repetition.
    let requests = request.repeat(2 * BENCH_SEND_BYTES / request.len()).into_bytes();
    let mut sip = [0; BENCH_ABUSE_SIP_BYTES];
    while !stop.load(Relaxed) {
        for client in &mut crowd {
            let Some(fd) = &client.fd else { continue };
            let result = match client.manner {
                Manner::HalfSent => Ok(()),
                Manner::Unread => push(fd, &requests, request.len(), &mut client.sent),
                Manner::SlowReader => push(fd, &requests, request.len(), &mut client.sent)
                    .and_then(|()| taste(fd, &mut sip)),
            };
            if result.is_err() {
                client.fd = None;
                closed.fetch_add(1, Relaxed);
            }
        }
        std::thread::sleep(EVERY);
    }
}

/// Sends what the server takes now.
fn push(fd: &OwnedFd, requests: &[u8], len: usize, sent: &mut usize) -> io::Result<()> {
    while *sent < BENCH_ABUSE_REQUEST_BYTES {
        let from = *sent % len;
        match socket::send(fd, &requests[from..from + BENCH_SEND_BYTES]) {
            Ok(count) => *sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a little.
fn taste(fd: &OwnedFd, sip: &mut [u8]) -> io::Result<()> {
    match socket::recv(fd, sip) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
