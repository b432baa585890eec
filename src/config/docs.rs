//! docs/configuration.md, made from the table; a test keeps the file equal to it.

use std::fmt::Write;

use super::directive::{Directive, Flags, Group};
use super::directives::TABLE;

/// What stands above the tables.
const HEAD: &str = "\
# Configuration

<!-- Made from the table in src/config/directives; do not edit.
     After a change: REWRITE=1 cargo test --lib config::docs -->

A directive can be given as a flag (`--maxmemory 1gb`), in the environment (`DSE_MAXMEMORY=1gb`:
upper case, `_` for `-`) or as a line of the file that is the first argument (`maxmemory 1gb`).
Flags win over the environment, the environment over the file, the file over the defaults.

- The file has a directive to a line; words with spaces go between quotes, in double quotes
  `\\x00` and the like stand for bytes, and `#` starts a line of comment. `include` reads other
  files, relative to the one it stands in; its last component may be a pattern. An unknown name
  is refused with file, line and the nearest name.
- `dse-server -` reads the file from standard input; `dse-server --check-config FILE` only checks
  it.
- CONFIG SET changes what is not marked *Fixed at start*. *Protected* directives can be changed
  only if `enable-protected-configs` says so. CONFIG REWRITE brings the file up to date.
- SIGHUP reads the file again: what differs is logged and takes effect as a restart would have it,
  flags and environment included. If a line is bad, nothing changes.
- *No effect yet* marks directives of Redis that are accepted and given back, so that files and
  clients made for Redis work; setting one to anything but its default is answered with a warning
  in the log.
- A size is a number with `b`, `k`, `kb`, `m`, `mb`, `g` or `gb`: `k` is 1000 and `kb` is 1024.
";

/// The whole document.
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    for group in Group::ALL {
        // Writing to a String cannot fail.
        _ = write!(text, "\n## {}\n\n", group.title());
        text.push_str("| directive | default | takes | meaning |\n|---|---|---|---|\n");
        let shown = TABLE.iter().filter(|row| row.group == group && !row.is(Flags::HIDDEN));
        shown.for_each(|row| push_row(&mut text, row));
    }
    text
}

fn push_row(text: &mut String, row: &Directive) {
    let names: Vec<String> = row.names().map(|name| format!("`{name}`")).collect();
    let default = match row.default {
        "" => String::new(),
        default => format!("`{default}`"),
    };
    let takes = row.kind.expects().replace('|', "\\|");
    _ = writeln!(
        text,
        "| {} | {default} | {takes} | {}{} |",
        names.join(", "),
        row.doc.replace('|', "\\|"),
        marks(row)
    );
}

/// What the flags of a row mean to its reader.
fn marks(row: &Directive) -> String {
    let marks = [
        (row.needs_restart(), "Fixed at start."),
        (row.is(Flags::PROTECTED), "Protected."),
        (row.is(Flags::ACCEPTED), "No effect yet."),
    ];
    let said = marks.iter().filter(|(holds, _)| *holds);
    said.map(|(_, mark)| format!(" *{mark}*")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == markdown(),
            "docs/configuration.md is stale: run REWRITE=1 cargo test --lib config::docs"
        );
    }
}
