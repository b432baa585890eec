//! The client's mistakes: each becomes an error reply.

use crate::limits::QUOTED_BYTES_MAX;
use crate::resp::Reply;
use std::borrow::Cow;
use std::fmt;

/// Why a command was refused. The text of each is part of the protocol: clients match on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CmdError {
    /// The key holds another kind of value.
    WrongType,
    /// An option is unknown, misplaced or contradicts another.
    Syntax,
    /// A value or argument is not an integer, or does not fit 64 bits.
    NotInteger,
    /// An argument is not a floating-point number.
    NotFloat,
    /// `no such key`.
    NoSuchKey,
    /// An index lies outside the collection.
    IndexOutOfRange,
    /// An argument must not be negative.
    MustBePositive,
    /// A counter would leave the range of 64 bits.
    Overflow,
    /// A string would exceed `proto-max-bulk-len`.
    StringTooLong,
    /// An expiry of the named command is zero, negative or overflows.
    InvalidExpire(&'static str),
    /// The named command has too few or too many arguments.
    Arity(Cow<'static, str>),
    /// Any other: the whole text with its code, `ERR ...`.
    Text(Cow<'static, str>),
    /// A text that quotes bytes of the request, which are given back as they came.
    Bytes(Vec<u8>),
}

impl CmdError {
    /// An error with the whole text given, its code included.
    pub const fn text(text: &'static str) -> CmdError {
        CmdError::Text(Cow::Borrowed(text))
    }

    /// An error whose text was made for the occasion, its code included.
    pub fn owned(text: String) -> CmdError {
        CmdError::Text(Cow::Owned(text))
    }

    /// An error that quotes bytes of the request: `before`, the bytes up to a NUL and at most
    /// 128 of them (as Redis prints them), `after`.
    pub fn quoting(before: &str, quoted: &[u8], after: &str) -> CmdError {
        let mut text = before.as_bytes().to_vec();
        text.extend_from_slice(shown(quoted, QUOTED_BYTES_MAX));
        text.extend_from_slice(after.as_bytes());
        CmdError::Bytes(text)
    }

    /// `unknown subcommand`, as Redis words it.
    pub fn unknown_subcommand(command: &str, sub: &[u8]) -> CmdError {
        let after = format!("'. Try {} HELP.", command.to_ascii_uppercase());
        CmdError::quoting("ERR unknown subcommand '", sub, &after)
    }

    /// A sub-command that is not there, or not with so many arguments, as Redis words it.
    pub fn wrong_subcommand(command: &str, sub: &[u8]) -> CmdError {
        let after = format!("'. Try {} HELP.", command.to_ascii_uppercase());
        let before = "ERR unknown subcommand or wrong number of arguments for '";
        CmdError::quoting(before, sub, &after)
    }

    /// The error as an error reply.
    pub fn write_to(&self, reply: &mut Reply<'_>) {
        match self {
            CmdError::Bytes(text) => reply.error_bytes(text),
            other => reply.error(&other.to_string()),
        }
    }
}

/// What an error shows of `bytes`: up to a NUL, at most `max` of them.
pub fn shown(bytes: &[u8], max: usize) -> &[u8] {
    let cut = &bytes[..bytes.len().min(max)];
    cut.split(|byte| *byte == 0).next().unwrap_or(cut)
}

impl fmt::Display for CmdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CmdError::WrongType => {
                f.write_str("WRONGTYPE Operation against a key holding the wrong kind of value")
            }
            CmdError::Syntax => f.write_str("ERR syntax error"),
            CmdError::NotInteger => f.write_str("ERR value is not an integer or out of range"),
            CmdError::NotFloat => f.write_str("ERR value is not a valid float"),
            CmdError::NoSuchKey => f.write_str("ERR no such key"),
            CmdError::IndexOutOfRange => f.write_str("ERR index out of range"),
            CmdError::MustBePositive => f.write_str("ERR value is out of range, must be positive"),
            CmdError::Overflow => f.write_str("ERR increment or decrement would overflow"),
            CmdError::StringTooLong => {
                f.write_str("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
            }
            CmdError::InvalidExpire(command) => {
                write!(f, "ERR invalid expire time in '{command}' command")
            }
            CmdError::Arity(command) => {
                write!(f, "ERR wrong number of arguments for '{command}' command")
            }
            CmdError::Text(text) => f.write_str(text),
            CmdError::Bytes(text) => f.write_str(&String::from_utf8_lossy(text)),
        }
    }
}
