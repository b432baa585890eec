//! A client that shows exactly what the server sent. It reads strictly: a reply that bends the
//! protocol is an error, not a guess.

use super::value::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a reply may take; long enough for a busy machine.
const REPLY_WAIT_MAX: Duration = Duration::from_secs(15);

/// Why no reply could be read.
#[derive(Debug, Clone, PartialEq)]
pub enum WireError {
    /// The server closed the connection.
    Closed,
    /// Nothing came in time.
    Timeout,
    /// The bytes are no reply.
    Malformed(String),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WireError::Closed => write!(f, "(closed)"),
            WireError::Timeout => write!(f, "(no reply in {} s)", REPLY_WAIT_MAX.as_secs()),
            WireError::Malformed(what) => write!(f, "(malformed reply: {what})"),
        }
    }
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    /// Bytes of `received` that were parsed already.
    parsed: usize,
}

impl Client {
    pub fn connect(address: SocketAddr) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_WAIT_MAX))?;
        stream.set_write_timeout(Some(REPLY_WAIT_MAX))?;
        Ok(Client { stream, received: Vec::new(), parsed: 0 })
    }

    /// Sends bytes as they are. A peer that closed meanwhile shows when its reply is read.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub fn finish_sending(&mut self) {
        // A peer that is gone already shows when its reply is read.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends one command and reads one reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Result<Value, WireError> {
        self.send(&encode(arguments));
        self.read()
    }

    /// The next reply.
    pub fn read(&mut self) -> Result<Value, WireError> {
        let value = self.value()?;
        self.received.drain(..self.parsed);
        self.parsed = 0;
        Ok(value)
    }

    fn value(&mut self) -> Result<Value, WireError> {
        let line = self.line()?;
        let Some((&kind, rest)) = line.split_first() else {
            return Err(WireError::Malformed("an empty line".into()));
        };
        Ok(match kind {
            b'+' => Value::Simple(rest.to_vec()),
            b'-' => Value::Error(rest.to_vec()),
            b':' => Value::Int(number(rest)?),
            b'$' => match length(rest)? {
                None => Value::NilBulk,
                Some(length) => Value::Bulk(self.body(length)?),
            },
            b'*' => match length(rest)? {
                None => Value::NilArray,
                Some(length) => Value::Array(self.values(length)?),
            },
            b'%' => Value::Map(self.values(2 * length(rest)?.unwrap_or(0))?),
            b'~' => Value::Set(self.values(length(rest)?.unwrap_or(0))?),
            b'>' => Value::Push(self.values(length(rest)?.unwrap_or(0))?),
            b'_' if rest.is_empty() => Value::Null,
            b'#' if rest == b"t" => Value::Bool(true),
            b'#' if rest == b"f" => Value::Bool(false),
            b',' => Value::Double(rest.to_vec()),
            b'(' => Value::Big(rest.to_vec()),
            b'=' => self.verbatim(length(rest)?.unwrap_or(0))?,
            _ => return Err(WireError::Malformed(String::from_utf8_lossy(&line).into_owned())),
        })
    }

    fn values(&mut self, count: usize) -> Result<Vec<Value>, WireError> {
        (0..count).map(|_| self.value()).collect()
    }

    fn verbatim(&mut self, length: usize) -> Result<Value, WireError> {
        let body = self.body(length)?;
        match (body.get(..3), body.get(3), body.get(4..)) {
            (Some(kind), Some(b':'), Some(text)) => {
                Ok(Value::Verbatim(kind.to_vec(), text.to_vec()))
            }
            _ => Err(WireError::Malformed("a verbatim string without its kind".into())),
        }
    }

    /// The next line without its end.
    fn line(&mut self) -> Result<Vec<u8>, WireError> {
        let mut looked = self.parsed;
        loop {
            let unseen = &self.received[looked..];
            if let Some(end) = unseen.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.received[self.parsed..looked + end].to_vec();
                self.parsed = looked + end + 2;
                return Ok(line);
            }
            looked = self.received.len().saturating_sub(1).max(self.parsed);
            self.receive()?;
        }
    }

    fn body(&mut self, length: usize) -> Result<Vec<u8>, WireError> {
        while self.received.len() < self.parsed + length + 2 {
            self.receive()?;
        }
        let body = self.received[self.parsed..self.parsed + length].to_vec();
        self.parsed += length + 2;
        match &self.received[self.parsed - 2..self.parsed] {
            b"\r\n" => Ok(body),
            _ => Err(WireError::Malformed("a bulk that does not end at its length".into())),
        }
    }

    fn receive(&mut self) -> Result<(), WireError> {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(WireError::Closed),
            Ok(count) => {
                self.received.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) => Err(match error.kind() {
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => WireError::Timeout,
                _ => WireError::Closed,
            }),
        }
    }
}

fn number(text: &[u8]) -> Result<i64, WireError> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| WireError::Malformed(String::from_utf8_lossy(text).into_owned()))
}

/// A length; `None` for -1.
fn length(text: &[u8]) -> Result<Option<usize>, WireError> {
    match number(text)? {
        -1 => Ok(None),
        length => usize::try_from(length)
            .map(Some)
            .map_err(|_| WireError::Malformed(format!("length {length}"))),
    }
}

/// A command as clients send it.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
