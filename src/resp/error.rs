//! What a client can get wrong about the protocol itself. Each ends its connection.

use std::fmt;

/// A request that cannot be read on. The reply is [`ProtocolError::write_to`]; then the
/// connection is closed, since where the next request starts is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The number behind `*` is malformed or too large.
    MultibulkLength,
    /// The number behind `$` is malformed, negative or above `proto-max-bulk-len`.
    BulkLength,
    /// An argument starts with this byte instead of `$`.
    ExpectedBulk(u8),
    /// The line with the number of arguments does not end.
    MultibulkLine,
    /// The line with the length of an argument does not end.
    BulkLine,
    /// An inline request does not end.
    InlineLine,
    /// A quote in an inline request is open, or not followed by a space.
    UnbalancedQuotes,
    /// More arguments than a client may send before it has authenticated.
    UnauthenticatedMultibulk,
    /// A longer argument than a client may send before it has authenticated.
    UnauthenticatedBulk,
}

impl ProtocolError {
    fn text(self) -> &'static str {
        match self {
            ProtocolError::MultibulkLength => "invalid multibulk length",
            ProtocolError::BulkLength => "invalid bulk length",
            ProtocolError::ExpectedBulk(_) => "expected '$', got '",
            ProtocolError::MultibulkLine => "too big mbulk count string",
            ProtocolError::BulkLine => "too big bulk count string",
            ProtocolError::InlineLine => "too big inline request",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::UnauthenticatedMultibulk => "unauthenticated multibulk length",
            ProtocolError::UnauthenticatedBulk => "unauthenticated bulk length",
        }
    }

    /// Appends the whole error reply, line end included.
    pub fn write_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"-ERR Protocol error: ");
        out.extend_from_slice(self.text().as_bytes());
        if let ProtocolError::ExpectedBulk(byte) = self {
            // The byte goes back as it came, unless it would break the line.
            out.push(if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
            out.push(b'\'');
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl fmt::Display for ProtocolError {
    /// The reply as text, without its code: the same but for a byte that is not ASCII.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol error: {}", self.text())?;
        match self {
            ProtocolError::ExpectedBulk(b'\r' | b'\n') => f.write_str(" '"),
            ProtocolError::ExpectedBulk(byte) => write!(f, "{}'", char::from(*byte)),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ProtocolError {}
