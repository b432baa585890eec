//! The table of directives, put together from one list for each group.
//!
//! A row says everything about a directive: the command line, the environment, the file, CONFIG
//! GET and SET, `--help` and docs/configuration.md come from it. Names, ranges and defaults of
//! Redis' directives are those of Redis 7.0.15 (a few are of 7.2); where a default differs the
//! sentence says so.

use super::directive::{Directive, Group};

mod cluster;
mod keyspace;
mod logging;
mod memory;
mod network;
mod persistence;
mod process;
mod security;
mod tls;

/// The lists with their groups.
const LISTS: [(Group, &[Directive]); 9] = [
    (Group::Network, network::ROWS),
    (Group::Process, process::ROWS),
    (Group::Security, security::ROWS),
    (Group::Memory, memory::ROWS),
    (Group::Keyspace, keyspace::ROWS),
    (Group::Persistence, persistence::ROWS),
    (Group::Cluster, cluster::ROWS),
    (Group::Logging, logging::ROWS),
    (Group::Tls, tls::ROWS),
];

/// Rows in the table.
pub const COUNT: usize = count();

/// Every directive, sorted by name.
pub static TABLE: [Directive; COUNT] = assemble();

/// Greatest value of Redis' `int` directives.
const INT_MAX: i64 = i32::MAX as i64;
/// Greatest port.
const PORT_MAX: i64 = u16::MAX as i64;

const fn count() -> usize {
    let mut rows = 0;
    let mut list = 0;
    while list < LISTS.len() {
        rows += LISTS[list].1.len();
        list += 1;
    }
    rows
}

/// All rows with their group, sorted by insertion: it runs in the compiler.
const fn assemble() -> [Directive; COUNT] {
    let mut table = [LISTS[0].1[0]; COUNT];
    let mut filled = 0;
    let mut list = 0;
    while list < LISTS.len() {
        let (group, rows) = LISTS[list];
        let mut index = 0;
        while index < rows.len() {
            let mut row = rows[index];
            row.group = group;
            let mut at = filled;
            while at > 0 && less(row.name, table[at - 1].name) {
                table[at] = table[at - 1];
                at -= 1;
            }
            table[at] = row;
            filled += 1;
            index += 1;
        }
        list += 1;
    }
    table
}

/// `a < b` for the compiler, which cannot call `str::cmp` yet.
const fn less(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut index = 0;
    while index < a.len() && index < b.len() {
        if a[index] != b[index] {
            return a[index] < b[index];
        }
        index += 1;
    }
    a.len() < b.len()
}
