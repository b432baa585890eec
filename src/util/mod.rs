//! Small pure tools: numbers, patterns, checksums, quoting. No state, no I/O.

mod big;
pub mod bytes;
pub mod crc16;
pub mod crc64;
pub mod float;
pub mod glob;
pub mod int;
pub mod long_double;
pub mod lzf;
pub mod quote;
pub mod rng;
pub mod time;
pub mod wire;
