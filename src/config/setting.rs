//! A setting on its way into a configuration: where it was said, and what is wrong with it.

use std::fmt;
use std::path::PathBuf;

use super::directive::{Directive, Flags, find, nearest};
use super::directives::TABLE;
use super::file::quote;
use super::reason::Reason;
use super::value::Value;

/// Characters of a refused value that a message repeats.
const SHOWN_MAX: usize = 64;

/// Where a setting was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// A flag of the command line, without its dashes.
    Flag(String),
}

/// A directive with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The directive, as it was written, in lower case.
    pub name: String,
    /// What follows it.
    pub args: Vec<Vec<u8>>,
    /// Where it was said.
    pub origin: Origin,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// No directive has the name.
    Unknown,
    /// Redis knows it, this server does not.
    Unsupported(&'static str),
    /// The value does not fit the directive.
    Invalid(Reason),
}

/// A setting that was refused; its text is one line that names place, directive, value and what
/// was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSetting {
    /// What was said, and where.
    pub setting: Box<Setting>,
    /// What is wrong with it.
    pub why: Why,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(variable) => f.write_str(variable),
            Origin::Flag(flag) => write!(f, "--{flag}"),
        }
    }
}

impl Setting {
    /// The row of the table that is meant.
    pub(super) fn row(&self) -> Result<usize, BadSetting> {
        find(self.name.as_bytes()).ok_or_else(|| {
            let why = unsupported(&self.name).map_or(Why::Unknown, Why::Unsupported);
            self.refused(why)
        })
    }

    /// The value that the setting gives to row `index`, where `base` is its value so far.
    pub(super) fn value(&self, index: usize, base: &Value) -> Result<Value, BadSetting> {
        let args: Vec<&[u8]> = self.args.iter().map(Vec::as_slice).collect();
        let row = &TABLE[index];
        let value = row.kind.parse(&args, base).and_then(|value| accept(row, value));
        value.map_err(|reason| self.refused(Why::Invalid(reason)))
    }

    fn refused(&self, why: Why) -> BadSetting {
        BadSetting { setting: Box::new(self.clone()), why }
    }

    /// The setting as it was written, in short.
    pub(super) fn shown(&self) -> String {
        let secret = find(self.name.as_bytes()).is_some_and(|i| TABLE[i].is(Flags::SENSITIVE));
        let args = if secret { "***".into() } else { shorten(&self.args) };
        match &self.origin {
            Origin::File { .. } => format!("{} {args}", self.name).trim_end().into(),
            Origin::Environment(variable) => format!("{variable}={args}"),
            Origin::Flag(flag) => format!("--{flag} {args}").trim_end().into(),
        }
    }
}

/// Refuses what would turn something on that is not there.
pub(super) fn accept(row: &Directive, value: Value) -> Result<Value, Reason> {
    if row.is(Flags::DEFAULT_ONLY) && value != row.default_value() {
        return Err(Reason::Unsupported);
    }
    Ok(value)
}

/// Directives of Redis' files that are no configuration values, with what to say about them.
fn unsupported(name: &str) -> Option<&'static str> {
    Some(match name {
        "rename-command" => "commands cannot be renamed; remove the line",
        "loadmodule" | "loadmodule-ex" => "modules cannot be loaded; remove the line",
        "user" => "users are not supported; use requirepass",
        "sentinel" => "this server is no sentinel",
        _ => return None,
    })
}

fn shorten(args: &[Vec<u8>]) -> String {
    let text = args.iter().map(|arg| quote(arg)).collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = &self.setting;
        if let Origin::File { .. } = &setting.origin {
            write!(f, "{}: ", setting.origin)?;
        }
        match &self.why {
            Why::Unknown => self.write_unknown(f),
            Why::Unsupported(text) => {
                let dashes = if matches!(setting.origin, Origin::Flag(_)) { "--" } else { "" };
                write!(f, "{dashes}{}: {text}", setting.name)
            }
            Why::Invalid(reason) => {
                write!(f, "{}: ", setting.shown())?;
                self.write_invalid(f, reason)
            }
        }
    }
}

impl BadSetting {
    /// A flag that no directive has the name of.
    pub fn unknown_flag(name: &str) -> BadSetting {
        let origin = Origin::Flag(name.into());
        let setting = Setting { name: name.into(), args: Vec::new(), origin };
        let why = unsupported(name).map_or(Why::Unknown, Why::Unsupported);
        setting.refused(why)
    }

    fn write_unknown(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.setting.name;
        let (noun, dashes) = match self.setting.origin {
            Origin::Flag(_) => ("flag", "--"),
            _ => ("directive", ""),
        };
        write!(f, "unknown {noun} '{dashes}{name}'")?;
        match nearest(name) {
            Some(near) => write!(f, "; did you mean '{dashes}{near}'?"),
            None => Ok(()),
        }
    }

    fn write_invalid(&self, f: &mut fmt::Formatter<'_>, reason: &Reason) -> fmt::Result {
        let Ok(index) = self.setting.row() else { return write!(f, "{reason}") };
        let row = &TABLE[index];
        match reason {
            Reason::Unsupported => {
                let default = quote(row.default.as_bytes());
                write!(f, "{reason}; only {default} is accepted")
            }
            Reason::Directory(_) | Reason::SaveAndNosave => write!(f, "{reason}"),
            Reason::Count if self.setting.args.is_empty() => {
                write!(f, "a value is missing; expected {}", row.kind.expects())
            }
            Reason::Count => {
                write!(f, "wrong number of values; expected {}", row.kind.expects())
            }
            _ => write!(f, "expected {}", row.kind.expects()),
        }
    }
}

impl std::error::Error for BadSetting {}
