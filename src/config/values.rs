//! The values of all directives at one moment.
//!
//! The readers by name are for start-up and rare commands; the data path reads `Hot`. They are
//! called with names of the table only: a wrong name or kind is our own bug and panics, which a
//! test over all callers in this room rules out.

use super::directive::find;
use super::directives::{COUNT, TABLE};
use super::output_limit::OutputLimits;
use super::value::{SaveRule, Value};

/// One value for each row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Values(Vec<Value>);

impl Default for Values {
    fn default() -> Values {
        Values(TABLE.iter().map(super::Directive::default_value).collect())
    }
}

impl Values {
    /// The value of row `index` of the table.
    pub fn at(&self, index: usize) -> &Value {
        &self.0[index]
    }

    /// Replaces the value of row `index`; it must be of the row's kind.
    pub(super) fn set(&mut self, index: usize, value: Value) {
        self.0[index] = value;
    }

    /// The rows in which `self` and `other` differ.
    pub fn differing(&self, other: &Values) -> Vec<usize> {
        (0..COUNT).filter(|&index| self.0[index] != other.0[index]).collect()
    }

    /// The value of a directive of the table.
    pub fn named(&self, name: &str) -> &Value {
        match find(name.as_bytes()) {
            Some(index) => &self.0[index],
            None => unreachable!("'{name}' is no directive"),
        }
    }

    /// A directive that is `yes` or `no`.
    pub fn flag(&self, name: &str) -> bool {
        match self.named(name) {
            Value::Bool(on) => *on,
            _ => wrong_kind(name),
        }
    }

    /// A directive that is a whole number.
    pub fn int(&self, name: &str) -> i64 {
        match self.named(name) {
            Value::Int(number) => *number,
            Value::Octal(mode) => i64::from(*mode),
            Value::Threads(count) => *count as i64,
            _ => wrong_kind(name),
        }
    }

    /// A whole number that cannot be negative.
    pub fn count(&self, name: &str) -> u64 {
        u64::try_from(self.int(name)).unwrap_or(0)
    }

    /// A size in bytes.
    pub fn bytes(&self, name: &str) -> u64 {
        match self.named(name) {
            Value::Memory(bytes) => *bytes,
            _ => wrong_kind(name),
        }
    }

    /// A directive that is one of some words.
    pub fn choice(&self, name: &str) -> &'static str {
        match self.named(name) {
            Value::Choice(word) => word,
            _ => wrong_kind(name),
        }
    }

    /// The words that are chosen of a directive that takes several, such as `shutdown-on-sigterm`.
    pub fn chosen(&self, name: &str) -> &[&'static str] {
        match self.named(name) {
            Value::Set(words) => words,
            _ => wrong_kind(name),
        }
    }

    /// A text as bytes.
    pub fn text(&self, name: &str) -> &[u8] {
        match self.named(name) {
            Value::Text(text) => text,
            _ => wrong_kind(name),
        }
    }

    /// The words of `bind` and the like.
    pub fn words(&self, name: &str) -> &[Vec<u8>] {
        match self.named(name) {
            Value::Words(words) => words,
            _ => wrong_kind(name),
        }
    }

    /// Limits of unsent output.
    pub fn output_limits(&self) -> OutputLimits {
        match self.named("client-output-buffer-limit") {
            Value::OutputLimits(limits) => *limits,
            _ => wrong_kind("client-output-buffer-limit"),
        }
    }

    /// The rules of `save`.
    pub fn save_rules(&self) -> &[SaveRule] {
        match self.named("save") {
            Value::Save(rules) => rules,
            _ => wrong_kind("save"),
        }
    }

    /// Bits of `config::notify`.
    pub fn events(&self) -> u32 {
        match self.named("notify-keyspace-events") {
            Value::Events(bits) => *bits,
            _ => wrong_kind("notify-keyspace-events"),
        }
    }

    /// The percentiles of INFO latencystats.
    pub fn percentiles(&self) -> &[f64] {
        match self.named("latency-tracking-info-percentiles") {
            Value::Percentiles(values) => values,
            _ => wrong_kind("latency-tracking-info-percentiles"),
        }
    }
}

fn wrong_kind(name: &str) -> ! {
    unreachable!("'{name}' is not of the kind that was asked for")
}
