//! The rule of the stairs: a room imports from lower layers only, and equals do not meet.
//!
//! The table of layers is read from the documentation of `src/lib.rs`, so that what a newcomer
//! reads there and what is enforced here cannot differ.

use crate::source::{Source, is_identifier};
use crate::{Finding, finding};
use std::collections::HashMap;

/// `limits` has no imports and may be named by every room, those of its own layer included.
const GROUND: &str = "limits";

/// Room name to layer number, from the `//! | L2 | [`a`], [`b`] |` lines of `src/lib.rs`.
fn layer_table(sources: &[Source]) -> HashMap<String, usize> {
    let lib = sources.iter().find(|source| source.path == "src/lib.rs");
    let mut table = HashMap::new();
    for line in lib.map_or("", |lib| &lib.text).lines() {
        let Some(row) = line.strip_prefix("//! | L") else { continue };
        let Some((number, rooms)) = row.split_once(" | ") else { continue };
        let Ok(layer) = number.trim().parse() else { continue };
        for name in rooms.split('`').skip(1).step_by(2) {
            table.insert(name.to_owned(), layer);
        }
    }
    table
}

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let table = layer_table(sources);
    let mut findings = undeclared_rooms(sources, &table);
    for source in sources.iter().filter(|s| s.is_rust() && s.path.starts_with("src/")) {
        let Some(room) = room_of(&source.path) else { continue };
        let Some(&own) = table.get(room) else { continue };
        for (line, target) in imports(source) {
            let Some(&other) = table.get(&target) else { continue };
            let allowed = target == room || other < own || (target == GROUND && room != GROUND);
            if !allowed {
                findings.push(finding(source, line, format!(
                    "`{room}` (L{own}) imports `{target}` (L{other}): move the shared part to a \
                     lower layer, or pass it in from above as a value, trait or closure"
                )));
            }
        }
    }
    findings
}

fn undeclared_rooms(sources: &[Source], table: &HashMap<String, usize>) -> Vec<Finding> {
    let Some(lib) = sources.iter().find(|source| source.path == "src/lib.rs") else {
        return Vec::new();
    };
    let modules = lib.find(&["mod"]).map(|at| &lib.tokens[at + 1]);
    modules
        .filter(|name| !table.contains_key(&name.text))
        .map(|name| {
            finding(
                lib,
                name.line,
                format!(
                    "room `{}` stands in no layer: add it to the table in the documentation above",
                    name.text
                ),
            )
        })
        .collect()
}

/// `src/store/table.rs` and `src/store.rs` belong to `store`; the crate root to no room.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (room != "lib" && room != "bin").then_some(room)
}

/// The rooms that a file names by a path from the crate's root, with the line of each mention.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let tokens = &source.tokens;
    let mut found = Vec::new();
    for at in source.find(&["crate", ":", ":"]) {
        after_root(source, at + 3, &mut found);
    }
    for at in source.find(&["super", ":", ":"]) {
        let is_chain_start = at < 3 || tokens[at - 3].text != "super";
        let supers =
            (0..).take_while(|n| tokens.get(at + 3 * n).is_some_and(|t| t.text == "super"));
        let supers = supers.count();
        if is_chain_start && supers >= module_depth(source, at) {
            after_root(source, at + 3 * supers, &mut found);
        }
    }
    found
}

/// Collects the room, or each room of a `{a::x, b}` group, that follows a path to the root.
fn after_root(source: &Source, at: usize, found: &mut Vec<(usize, String)>) {
    let tokens = &source.tokens;
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        found.push((first.line, first.text.clone()));
        return;
    }
    let mut depth = 0;
    for pair in tokens[at..].windows(2) {
        match pair[0].text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
        let starts_element = depth == 1 && matches!(pair[0].text.as_str(), "{" | ",");
        if starts_element && is_identifier(&pair[1].text) {
            found.push((pair[1].line, pair[1].text.clone()));
        }
    }
}

/// How many `super` lead from the token at `at` to the crate's root.
fn module_depth(source: &Source, at: usize) -> usize {
    let path = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    let file_depth = path.split('/').filter(|part| *part != "mod").count();
    let mut open_modules = 0usize;
    let mut braces = Vec::new();
    for (index, token) in source.tokens[..at].iter().enumerate() {
        match token.text.as_str() {
            "{" => {
                let is_module = index >= 2 && source.tokens[index - 2].text == "mod";
                open_modules += usize::from(is_module);
                braces.push(is_module);
            }
            "}" => open_modules -= usize::from(braces.pop().unwrap_or(false)),
            _ => {}
        }
    }
    file_depth + open_modules
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! | L0 | [`limits`], [`util`] |\n//! | L1 | [`sync`], [`sys`] |\n\
                       //! | L2 | [`store`] |\npub mod util; pub mod sync; pub mod store;";

    fn findings(path: &str, text: &str) -> Vec<usize> {
        let sources = [Source::new("src/lib.rs", LIB), Source::new(path, text)];
        check(&sources).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn imports_from_below_and_from_the_same_room_are_fine() {
        let text = "use crate::{limits, util::int, sync::{ring, seqlock}};\nuse super::entry;\n\
                    mod tests { use super::super::entry; }";
        assert_eq!(findings("src/store/table.rs", text), []);
        assert_eq!(findings("src/util/int.rs", "use crate::limits::SHARDS;"), []);
    }

    #[test]
    fn imports_from_above_and_from_equals_are_found() {
        assert_eq!(findings("src/util/int.rs", "\nuse crate::store::Entry;"), [2]);
        assert_eq!(findings("src/sync/ring.rs", "fn f() { crate::sys::now() }"), [1]);
        assert_eq!(findings("src/sync/ring.rs", "use crate::{limits,\n store as s};"), [2]);
        assert_eq!(findings("src/sync/ring.rs", "use super::super::sys::fd;"), [1]);
        assert_eq!(findings("src/limits.rs", "use crate::util::int;"), [1]);
    }

    #[test]
    fn a_room_without_a_layer_is_found() {
        let lib = Source::new("src/lib.rs", "//! | L0 | [`util`] |\npub mod util;\npub mod extra;");
        assert_eq!(check(&[lib]).len(), 1);
    }
}
