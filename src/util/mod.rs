//! Small pure tools: numbers, patterns, checksums, quoting. No state, no I/O.

pub mod float;
