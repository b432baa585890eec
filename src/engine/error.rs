//! The client's mistakes: each becomes an error reply.

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

    /// `unknown subcommand`, as Redis words it.
    pub fn unknown_subcommand(command: &str, sub: &[u8]) -> CmdError {
        let sub = String::from_utf8_lossy(&sub[..sub.len().min(128)]).into_owned();
        CmdError::owned(format!(
            "ERR unknown subcommand '{sub}'. Try {} HELP.",
            command.to_ascii_uppercase()
        ))
    }
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
        }
    }
}
