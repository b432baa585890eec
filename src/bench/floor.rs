//! A server that answers with the least work there is: what remains is the price of epoll and
//! TCP on this machine, the floor under every server that also does real work.
//!
//! It stores nothing. It counts the complete requests in what it read, by the `*` that begins
//! each, looks at the verb of the first, and sends as many copies of one canned reply in one
//! write. So it answers a load of one kind of request whose values hold no `*` at the start of a
//! line, which is what `dse-bench` and redis-benchmark send.

use super::client::target::Place;
use super::error::BenchError;
use crate::limits::{BENCH_PIPELINE_MAX, EPOLL_EVENTS, TURN_BYTES};
use crate::sys::epoll::{Epoll, Event, Events, Interest};
use crate::sys::socket::{self, ListenOptions};
use memchr::memchr_iter;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Token of the listener.
const LISTENER: u64 = u64::MAX;
/// Bytes of canned replies of one kind that are laid out.
const CANNED_BYTES: usize = 1 << 20;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// How the floor is run.
#[derive(Clone, Debug)]
pub struct FloorOptions {
    /// Where it listens.
    pub place: Place,
    /// Threads, each with a listener of its own on the port.
    pub threads: usize,
    /// Bytes of the value that GET is answered with.
    pub data_bytes: usize,
}

/// The reply to one kind of request, many times.
struct Canned {
    one: usize,
    bytes: Vec<u8>,
}

impl Canned {
    fn new(reply: &[u8]) -> Canned {
        let copies = (CANNED_BYTES / reply.len()).clamp(1, BENCH_PIPELINE_MAX);
        Canned { one: reply.len(), bytes: reply.repeat(copies) }
    }
}

struct Replies {
    value: Canned,
    ok: Canned,
    int: Canned,
    pong: Canned,
    empty: Canned,
}

impl Replies {
    fn new(data_bytes: usize) -> Replies {
        let value = format!("${data_bytes}\r\n{}\r\n", "x".repeat(data_bytes));
        Replies {
            value: Canned::new(value.as_bytes()),
            ok: Canned::new(b"+OK\r\n"),
            int: Canned::new(b":1\r\n"),
            pong: Canned::new(b"+PONG\r\n"),
            empty: Canned::new(b"*0\r\n"),
        }
    }

    fn to(&self, verb: Verb) -> &Canned {
        match verb {
            Verb::Get => &self.value,
            Verb::Ok => &self.ok,
            Verb::Int => &self.int,
            Verb::Ping => &self.pong,
            Verb::Other => &self.empty,
        }
    }
}

/// Kinds of requests, by what they are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    Ok,
    Int,
    Ping,
    Other,
}

struct Conn {
    fd: OwnedFd,
    verb: Verb,
    /// Bytes of replies that the peer has not taken.
    owed: usize,
    /// What was read ended with the first byte of a line.
    at_line: bool,
}

/// Serves for ever.
pub fn serve(options: &FloorOptions) -> Result<(), BenchError> {
    let replies = Arc::new(Replies::new(options.data_bytes));
    let listeners = (0..options.threads).map(|_| listen(&options.place));
    let listeners = listeners.collect::<Result<Vec<_>, BenchError>>()?;
    let threads: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let replies = Arc::clone(&replies);
            std::thread::spawn(move || Floor::new(listener, &replies)?.run())
        })
        .collect();
    for thread in threads {
        match thread.join() {
            Ok(ended) => ended?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    Ok(())
}

fn listen(place: &Place) -> Result<OwnedFd, BenchError> {
    match place {
        Place::Unix(path) => Ok(socket::listen_unix(path, None, BACKLOG)?),
        Place::Tcp { addresses, .. } => {
            let options = ListenOptions { backlog: BACKLOG, reuse_port: true, v6_only: true };
            let nowhere = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            let address = addresses.first().ok_or_else(nowhere)?;
            Ok(socket::listen_tcp(*address, options)?)
        }
    }
}

struct Floor<'r> {
    listener: OwnedFd,
    epoll: Epoll,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    replies: &'r Replies,
    input: Vec<u8>,
}

impl<'r> Floor<'r> {
    fn new(listener: OwnedFd, replies: &'r Replies) -> io::Result<Floor<'r>> {
        let epoll = Epoll::new()?;
        epoll.add(&listener, LISTENER, Interest::LISTENER)?;
        let input = vec![0; TURN_BYTES];
        Ok(Floor { listener, epoll, conns: Vec::new(), free: Vec::new(), replies, input })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EPOLL_EVENTS);
        loop {
            let count = self.epoll.wait(&mut events, None)?;
            for event in (0..count).filter_map(|at| events.get(at)) {
                if event.token == LISTENER {
                    self.accept()?;
                } else if self.handle(event).is_err() {
                    // A peer that is gone needs no answer.
                    self.close(event.token as usize);
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let fd = match socket::accept(&self.listener) {
                Ok(accepted) => accepted.fd,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if socket::is_transient_accept_error(&error) => continue,
                Err(error) => return Err(error),
            };
            socket::set_nodelay(&fd)?;
            let at = self.free.pop().unwrap_or(self.conns.len());
            self.epoll.add(&fd, at as u64, Interest::READABLE)?;
            let conn = Some(Conn { fd, verb: Verb::Other, owed: 0, at_line: true });
            if at == self.conns.len() {
                self.conns.push(conn);
            } else {
                self.conns[at] = conn;
            }
        }
    }

    fn close(&mut self, at: usize) {
        if self.conns[at].take().is_some() {
            self.free.push(at);
        }
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        let at = event.token as usize;
        let Some(conn) = &mut self.conns[at] else { return Ok(()) };
        if conn.owed > 0 {
            if !pay(conn, self.replies)? {
                return Ok(());
            }
            self.epoll.modify(&conn.fd, event.token, Interest::READABLE)?;
        }
        let count = match socket::recv(&conn.fd, &mut self.input) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let input = &self.input[..count];
        conn.verb = verb_of(input).unwrap_or(conn.verb);
        let requests = count_requests(input, conn.at_line);
        conn.at_line = input.ends_with(b"\n");
        conn.owed = requests * self.replies.to(conn.verb).one;
        if !pay(conn, self.replies)? {
            // Wait for room as well; reading goes on when all is paid.
            self.epoll.modify(&conn.fd, event.token, Interest::CONNECTION)?;
        }
        Ok(())
    }
}

/// Sends what is owed. False if the peer does not take it all.
fn pay(conn: &mut Conn, replies: &Replies) -> io::Result<bool> {
    let canned = replies.to(conn.verb);
    while conn.owed > 0 {
        // What is left of a reply that was cut goes first.
        let from = (canned.one - conn.owed % canned.one) % canned.one;
        let end = canned.bytes.len().min(from + conn.owed);
        match socket::send(&conn.fd, &canned.bytes[from..end]) {
            Ok(count) => conn.owed -= count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// The verb of a read that begins with a request, by its first letters.
fn verb_of(input: &[u8]) -> Option<Verb> {
    if input.first() != Some(&b'*') {
        return input.starts_with(b"PING").then_some(Verb::Ping);
    }
    let verb = input.splitn(3, |byte| *byte == b'\n').nth(2)?;
    Some(match verb.get(..3)? {
        b"GET" => Verb::Get,
        b"INC" => Verb::Int,
        b"PIN" => Verb::Ping,
        b"SET" | b"MSE" | b"AUT" | b"SEL" => Verb::Ok,
        _ => Verb::Other,
    })
}

/// Requests that begin in `input`: each `*` at the start of a line, or inline PINGs.
#[inline]
fn count_requests(input: &[u8], at_line: bool) -> usize {
    if input.starts_with(b"PING") {
        return memchr_iter(b'\n', input).count();
    }
    let begins = |at: usize| if at == 0 { at_line } else { input[at - 1] == b'\n' };
    memchr_iter(b'*', input).filter(|at| begins(*at)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_where_they_begin() {
        let get = b"*2\r\n$3\r\nGET\r\n$5\r\na*b*c\r\n";
        assert_eq!(count_requests(get, true), 1);
        assert_eq!(count_requests(&get.repeat(64), true), 64);
        let (head, tail) = get.split_at(9);
        assert_eq!(count_requests(head, true) + count_requests(tail, false), 1);
        assert_eq!(count_requests(b"*", false), 0);
        assert_eq!(count_requests(b"PING\r\nPING\r\n", true), 2);
    }

    #[test]
    fn verbs_choose_replies() {
        for (input, verb) in [
            (&b"*2\r\n$3\r\nGET\r\n"[..], Some(Verb::Get)),
            (b"*3\r\n$3\r\nSET\r\n", Some(Verb::Ok)),
            (b"*21\r\n$4\r\nMSET\r\n", Some(Verb::Ok)),
            (b"*2\r\n$4\r\nINCR\r\n", Some(Verb::Int)),
            (b"*1\r\n$4\r\nPING\r\n", Some(Verb::Ping)),
            (b"PING\r\n", Some(Verb::Ping)),
            (b"*3\r\n$6\r\nCONFIG\r\n", Some(Verb::Other)),
            (b"xxxx", None),
            (b"*2\r\n$3", None),
        ] {
            assert_eq!(verb_of(input), verb, "{}", input.escape_ascii());
        }
    }
}
