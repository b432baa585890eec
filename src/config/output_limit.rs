//! `client-output-buffer-limit`: how much unsent output a client of each class may hold.
//!
//! Text form: `<class> <hard> <soft> <soft seconds>`, repeated; classes that are not named keep
//! their limits. Zero means no limit.

use super::reason::Reason;
use super::sizes::format_memory;
use crate::util::int::{parse_i64, parse_memory};

/// What a connection is used for, as far as its output is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ClientClass {
    /// Requests and replies, MONITOR included.
    Normal = 0,
    /// A replica that receives the stream of writes.
    Replica = 1,
    /// A subscriber of at least one channel or pattern.
    PubSub = 2,
}

impl ClientClass {
    /// All classes, in the order in which they are written.
    pub const ALL: [ClientClass; 3] = [Self::Normal, Self::Replica, Self::PubSub];

    /// The name that Redis writes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Replica => "slave",
            Self::PubSub => "pubsub",
        }
    }

    fn parse(text: &[u8]) -> Option<ClientClass> {
        if text.eq_ignore_ascii_case(b"replica") {
            return Some(Self::Replica);
        }
        Self::ALL.into_iter().find(|class| text.eq_ignore_ascii_case(class.name().as_bytes()))
    }
}

/// The limit of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes at which the client is dropped at once; 0 for none.
    pub hard_bytes: u64,
    /// Bytes that it may exceed for `soft_seconds` only; 0 for none.
    pub soft_bytes: u64,
    /// How long `soft_bytes` may be exceeded.
    pub soft_seconds: u64,
}

impl OutputLimit {
    fn parse(hard: &[u8], soft: &[u8], seconds: &[u8]) -> Option<OutputLimit> {
        Some(OutputLimit {
            hard_bytes: parse_memory(hard)?,
            soft_bytes: parse_memory(soft)?,
            soft_seconds: parse_i64(seconds)?.try_into().ok()?,
        })
    }
}

/// The limits of all classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimits([OutputLimit; 3]);

impl OutputLimits {
    /// The limit of `class`.
    pub fn of(&self, class: ClientClass) -> OutputLimit {
        self.0[class as usize]
    }

    /// These limits with the classes that `args` names replaced; in groups of four arguments.
    pub fn with(mut self, args: &[&[u8]]) -> Result<OutputLimits, Reason> {
        let (groups, rest) = args.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(Reason::OutputLimitCount);
        }
        for [class, hard, soft, seconds] in groups {
            let class = ClientClass::parse(class).ok_or(Reason::OutputLimitClass)?;
            let limit = OutputLimit::parse(hard, soft, seconds).ok_or(Reason::OutputLimitValue)?;
            self.0[class as usize] = limit;
        }
        Ok(self)
    }

    /// One line for all classes, in plain bytes, as CONFIG GET gives it.
    pub fn format(&self) -> String {
        let one = |class: ClientClass| {
            let limit = self.of(class);
            format!(
                "{} {} {} {}",
                class.name(),
                limit.hard_bytes,
                limit.soft_bytes,
                limit.soft_seconds
            )
        };
        ClientClass::ALL.map(one).join(" ")
    }

    /// One line of arguments for each class, with units, as a file has them.
    pub fn lines(&self) -> Vec<String> {
        let one = |class: ClientClass| {
            let limit = self.of(class);
            let (hard, soft) = (format_memory(limit.hard_bytes), format_memory(limit.soft_bytes));
            format!("{} {hard} {soft} {}", class.name(), limit.soft_seconds)
        };
        ClientClass::ALL.map(one).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(base: OutputLimits, text: &str) -> Result<OutputLimits, Reason> {
        let args: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        base.with(&args)
    }

    #[test]
    fn a_class_that_is_not_named_keeps_its_limit() {
        let limits = set(OutputLimits::default(), "normal 1mb 2k 3 replica 7 8 9").unwrap();
        assert_eq!(limits.format(), "normal 1048576 2000 3 slave 7 8 9 pubsub 0 0 0");
        let limits = set(limits, "pubsub 5 0 0").unwrap();
        assert_eq!(limits.format(), "normal 1048576 2000 3 slave 7 8 9 pubsub 5 0 0");
        assert_eq!(limits.lines(), ["normal 1mb 2000 3", "slave 7 8 9", "pubsub 5 0 0"]);
    }

    #[test]
    fn the_last_of_two_limits_for_a_class_holds() {
        let limits = set(OutputLimits::default(), "normal 1 1 1 normal 5 5 5").unwrap();
        assert_eq!(limits.of(ClientClass::Normal).hard_bytes, 5);
    }

    #[test]
    fn mistakes_are_told_apart() {
        let none = OutputLimits::default();
        assert_eq!(set(none, "normal 1 2"), Err(Reason::OutputLimitCount));
        assert_eq!(set(none, "master 1 2 3"), Err(Reason::OutputLimitClass));
        assert_eq!(set(none, "normal 1x 2 3"), Err(Reason::OutputLimitValue));
        assert_eq!(set(none, "normal 1 2 -3"), Err(Reason::OutputLimitValue));
    }
}
