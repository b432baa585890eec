//! The server family.

use super::table::Command;

/// The rows of this family.
pub const ROWS: &[Command] = &[];
