//! Where a server is, how one logs in, and a plain connection for a few questions.

use super::answer::Answer;
use crate::bench::error::BenchError;
use crate::limits::BENCH_ANSWER_BYTES_MAX;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long connecting, and a reply to a question, may take.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// A server as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What it is called in reports.
    pub name: String,
    /// Where it listens.
    pub place: Place,
    /// Name (if any) and password.
    pub login: Option<(Option<String>, String)>,
    /// Speak RESP3.
    pub resp3: bool,
    /// The database to work in.
    pub database: u32,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a TCP port.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// What the name means.
        addresses: Vec<SocketAddr>,
    },
    /// At a unix socket.
    Unix(PathBuf),
}

impl Place {
    /// A TCP place; the name is looked up now, once.
    pub fn tcp(host: &str, port: u16) -> Result<Place, BenchError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = (bare, port).to_socket_addrs();
        let addresses: Vec<SocketAddr> = found
            .map_err(|cause| BenchError::Connect { address: format!("{host}:{port}"), cause })?
            .collect();
        Ok(Place::Tcp { host: bare.to_owned(), port, addresses })
    }

    /// True if the server can only be on this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Place::Unix(_) => true,
            Place::Tcp { addresses, .. } => {
                !addresses.is_empty() && addresses.iter().all(|a| is_own(a.ip()))
            }
        }
    }
}

/// An address of this machine: one can bind to it.
fn is_own(ip: IpAddr) -> bool {
    ip.is_loopback() || std::net::UdpSocket::bind((ip, 0)).is_ok()
}

impl Target {
    /// A server at `place`, named after it.
    pub fn at(place: Place) -> Target {
        let name = match &place {
            Place::Tcp { host, port, .. } => format!("{host}:{port}"),
            Place::Unix(path) => path.display().to_string(),
        };
        Target { name, place, login: None, resp3: false, database: 0 }
    }

    /// Its address for people.
    pub fn address(&self) -> String {
        match &self.place {
            Place::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Tcp { host, port, .. } => format!("{host}:{port}"),
            Place::Unix(path) => path.display().to_string(),
        }
    }

    /// Connects and logs in.
    pub fn open(&self) -> Result<Session, BenchError> {
        let failed = |cause| BenchError::Connect { address: self.address(), cause };
        let stream = match &self.place {
            Place::Unix(path) => Stream::Unix(UnixStream::connect(path).map_err(failed)?),
            Place::Tcp { addresses, .. } => Stream::Tcp(connect(addresses).map_err(failed)?),
        };
        stream.set_timeout(Some(WAIT_MAX)).map_err(failed)?;
        let mut session = Session { stream, address: self.address(), received: Vec::new() };
        self.log_in(&mut session)?;
        Ok(session)
    }

    fn log_in(&self, session: &mut Session) -> Result<(), BenchError> {
        if let Some((user, password)) = &self.login {
            match user {
                Some(user) => session.demand(&["AUTH", user, password])?,
                None => session.demand(&["AUTH", password])?,
            };
        }
        if self.resp3 {
            session.demand(&["HELLO", "3"])?;
        }
        if self.database > 0 {
            session.demand(&["SELECT", &self.database.to_string()])?;
        }
        Ok(())
    }
}

fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(address, WAIT_MAX) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout))
            }
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_nonblocking(true),
            Stream::Unix(stream) => stream.set_nonblocking(true),
        }
    }
}

/// A connection that asks one thing at a time.
pub struct Session {
    stream: Stream,
    address: String,
    received: Vec<u8>,
}

impl Session {
    /// Sends a request and waits for the reply, errors included.
    pub fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Answer, BenchError> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args.iter().map(AsRef::as_ref) {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        let sent = match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(&request),
            Stream::Unix(stream) => stream.write_all(&request),
        };
        sent.map_err(|cause| self.lost(cause))?;
        self.answer()
    }

    /// As [`Session::ask`], but a reply that is an error is one.
    pub fn demand<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Answer, BenchError> {
        match self.ask(args)? {
            Answer::Error(reply) => {
                Err(BenchError::Refused { address: self.address.clone(), reply })
            }
            answer => Ok(answer),
        }
    }

    fn answer(&mut self) -> Result<Answer, BenchError> {
        let mut chunk = [0; 16 * 1024];
        loop {
            let found = Answer::read(&self.received).map_err(|error| BenchError::Malformed {
                address: self.address.clone(),
                what: error.0,
            })?;
            if let Some((answer, used)) = found {
                self.received.drain(..used);
                return Ok(answer);
            }
            if self.received.len() > BENCH_ANSWER_BYTES_MAX {
                let what = format!("more than {BENCH_ANSWER_BYTES_MAX} bytes");
                return Err(BenchError::Malformed { address: self.address.clone(), what });
            }
            let count = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut chunk),
                Stream::Unix(stream) => stream.read(&mut chunk),
            };
            match count {
                Ok(0) => return Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(cause) if is_timeout(&cause) => {
                    let (address, seconds) = (self.address.clone(), WAIT_MAX.as_secs());
                    return Err(BenchError::Silent { address, seconds });
                }
                Err(cause) => return Err(self.lost(cause)),
            }
        }
    }

    fn lost(&self, cause: io::Error) -> BenchError {
        BenchError::Lost { address: self.address.clone(), cause }
    }

    /// The bare connection, which does not block from now on.
    pub fn into_fd(self) -> Result<OwnedFd, BenchError> {
        self.stream.set_nonblocking()?;
        Ok(match self.stream {
            Stream::Tcp(stream) => stream.into(),
            Stream::Unix(stream) => stream.into(),
        })
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
