//! Why a value was refused, in the words that Redis uses towards its clients.
//!
//! A file, a flag or the environment says more: what the directive expects (`Kind::expects`).

use std::fmt;
use std::io;

/// Why a value does not fit its directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not `yes` or `no`.
    NotBool,
    /// Not a whole number.
    NotInteger,
    /// Not a size.
    NotMemory,
    /// Neither a size nor a percentage.
    NotMemoryOrPercent,
    /// A percentage above 100.
    PercentTooLarge,
    /// Not an octal number.
    NotOctal,
    /// A number outside of its range.
    OutOfRange {
        /// Least value.
        min: i128,
        /// Greatest value.
        max: i128,
    },
    /// Not one of the words that are known.
    NotOneOf(&'static [&'static str]),
    /// `save` and `nosave` at once.
    SaveAndNosave,
    /// The number of arguments is wrong.
    Count,
    /// A save rule is no pair of seconds and changes.
    SaveRule,
    /// The limits are not in groups of four.
    OutputLimitCount,
    /// The class of clients is unknown.
    OutputLimitClass,
    /// A limit is no size, or its seconds no number.
    OutputLimitValue,
    /// An adjustment outside of -2000..=2000.
    OomScoreAdj,
    /// A letter of `notify-keyspace-events` is unknown.
    EventClass,
    /// A percentile is no number.
    NotPercentile,
    /// A percentile outside of 0..=100.
    PercentileRange,
    /// More addresses than can be listened on.
    TooManyAddresses,
    /// A file name with a directory in it; carries the directive.
    NotFileName(&'static str),
    /// A host name with a character that host names do not have.
    NotHostname,
    /// A name of a node with a character that would make it ambiguous, or none at all.
    NotNodeName,
    /// Peers that do not read `id:host:port[@peer][/redirect],...`.
    NotPeers,
    /// A process title with an unknown variable.
    NotTitle,
    /// The directory cannot be used.
    Directory(io::ErrorKind),
    /// A value other than the default asks for something that this server does not have.
    Unsupported,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { min, max } => {
                write!(f, "argument must be between {min} and {max} inclusive")
            }
            Self::NotOneOf(words) => {
                write!(f, "argument(s) must be one of the following: {}", words.join(", "))
            }
            Self::NotFileName(name) => write!(f, "{name} can't be a path, just a filename"),
            Self::Directory(kind) => f.write_str(directory_error(*kind)),
            _ => f.write_str(self.fixed()),
        }
    }
}

impl Reason {
    /// The text of the reasons that carry nothing.
    fn fixed(&self) -> &'static str {
        match self {
            Self::NotBool => "argument must be 'yes' or 'no'",
            Self::NotInteger => "argument couldn't be parsed into an integer",
            Self::NotMemory => "argument must be a memory value",
            Self::NotMemoryOrPercent => "argument must be a memory or percent value",
            Self::PercentTooLarge => "percentage argument must be less or equal to 100",
            Self::NotOctal => "argument couldn't be parsed as an octal number",
            Self::SaveAndNosave => "shutdown options SAVE and NOSAVE can't be used simultaneously",
            Self::Count => "wrong number of arguments",
            Self::SaveRule => "Invalid save parameters",
            Self::OutputLimitCount => "Wrong number of arguments in buffer limit configuration.",
            Self::OutputLimitClass => {
                "Invalid client class specified in buffer limit configuration."
            }
            Self::OutputLimitValue => {
                "Error in hard, soft or soft_seconds setting in buffer limit configuration."
            }
            Self::OomScoreAdj => {
                "Invalid oom-score-adj-values, elements must be between -2000 and 2000."
            }
            Self::EventClass => "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
            Self::NotPercentile => "Invalid latency-tracking-info-percentiles parameters",
            Self::PercentileRange => {
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
            }
            Self::TooManyAddresses => "Too many bind addresses specified.",
            Self::NotHostname => {
                "Hostnames may only contain alphanumeric characters, hyphens or dots"
            }
            Self::NotNodeName => "node names are letters, digits, '.', '_' and '-'",
            Self::NotPeers => {
                "peers are written id:host:port[@peer port][/redirect port], separated by commas"
            }
            Self::NotTitle => "template format is invalid or contains unknown variables",
            Self::Unsupported => "this server does not support it",
            _ => "invalid argument",
        }
    }
}

/// The words of the operating system, without the error number that Rust adds.
fn directory_error(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => "No such file or directory",
        io::ErrorKind::NotADirectory => "Not a directory",
        io::ErrorKind::PermissionDenied => "Permission denied",
        _ => "The directory can't be used",
    }
}
