//! The rules that look at one file at a time: openings, widths, banned words, dependencies, paths.

use crate::source::Source;
use crate::{Finding, finding};

const LINE_COLUMNS_MAX: usize = 100;

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        if source.is_rust() {
            check_opening(source, &mut findings);
            check_columns(source, &mut findings);
            check_dependencies(source, &mut findings);
        }
        if source.is_product_code() {
            check_unfinished(source, &mut findings);
            check_markers(source, &mut findings);
        }
        check_machine_paths(source, &mut findings);
    }
    findings
}

/// The first line that is no crate or module attribute is `//!`.
fn check_opening(source: &Source, findings: &mut Vec<Finding>) {
    let mut lines = source.text.lines().skip_while(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with("#![") || line.starts_with("#!/")
    });
    if !lines.next().is_some_and(|line| line.starts_with("//!")) {
        findings.push(finding(
            source,
            1,
            "open the file with `//!`: what it is for, what holds \
                                          in it, what it leaves to others"
                .into(),
        ));
    }
}

fn check_columns(source: &Source, findings: &mut Vec<Finding>) {
    for (index, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX {
            findings.push(finding(
                source,
                index + 1,
                format!("{columns} columns: break the line at {LINE_COLUMNS_MAX}"),
            ));
        }
    }
}

/// Code that gives up, or was meant to be written later.
fn check_unfinished(source: &Source, findings: &mut Vec<Finding>) {
    let macros: [&[&str]; 3] = [&["todo", "!"], &["unimplemented", "!"], &["dbg", "!"]];
    for pattern in macros {
        for at in source.find(pattern) {
            findings.push(finding(
                source,
                source.tokens[at].line,
                format!(
                    "`{}!` in finished code: write the behaviour, or return an error",
                    pattern[0]
                ),
            ));
        }
    }
    for at in source.find(&[".", "unwrap", "(", ")"]) {
        let line = source.tokens[at].line;
        if !source.is_test_line(line) {
            findings.push(finding(
                source,
                line,
                "`unwrap()`: handle the case, or in start-up \
                                                 code `expect` with the reason it cannot fail"
                    .into(),
            ));
        }
    }
}

/// Notes to oneself in comments.
fn check_markers(source: &Source, findings: &mut Vec<Finding>) {
    const MARKERS: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];
    for (index, line) in source.text.lines().enumerate() {
        let Some((_, comment)) = line.split_once("//") else { continue };
        let mut words = comment.split(|c: char| !c.is_alphanumeric());
        if words.any(|word| MARKERS.contains(&word)) {
            findings.push(finding(
                source,
                index + 1,
                "a note to oneself: do it, or drop it".into(),
            ));
        }
    }
}

/// Each low-level dependency is named in one room only.
fn check_dependencies(source: &Source, findings: &mut Vec<Finding>) {
    const HOMES: [(&str, &str); 3] =
        [("libc", "src/sys/"), ("nix", "src/sys/"), ("crossbeam_epoch", "src/sync/reclaim")];
    for (package, home) in HOMES {
        if !source.path.starts_with("src/") || source.path.starts_with(home) {
            continue;
        }
        let paths = source.find(&[package, ":", ":"]).collect::<Vec<_>>();
        let uses = ["use", "as"].map(|keyword| [keyword, package]);
        let uses = uses.iter().flat_map(|pattern| source.find(pattern)).collect::<Vec<_>>();
        let lines = paths.into_iter().chain(uses).map(|at| source.tokens[at].line);
        if let Some(line) = lines.min() {
            findings.push(finding(
                source,
                line,
                format!("`{package}` is named in {home} only: give that room a function for this"),
            ));
        }
    }
}

/// Directories of one machine, spelled so that this file does not find itself.
const MACHINE_DIRECTORIES: [&str; 4] =
    [concat!("/", "work"), concat!("/", "tmp"), concat!("/", "root"), concat!("/", "home")];

/// No tracked file leans on a directory of the machine it was written on.
fn check_machine_paths(source: &Source, findings: &mut Vec<Finding>) {
    for (index, line) in source.text.lines().enumerate() {
        for directory in MACHINE_DIRECTORIES {
            if line.match_indices(directory).any(|(at, _)| is_whole_path(line, at, directory)) {
                findings.push(finding(
                    source,
                    index + 1,
                    format!(
                        "`{directory}` is a path of one machine: take it from an argument, the \
                     environment or a temporary-directory call"
                    ),
                ));
            }
        }
    }
}

/// True if the directory starts an absolute path: `src/work` and `https://x/work` do not.
fn is_whole_path(line: &str, at: usize, directory: &str) -> bool {
    let before = line[..at].chars().next_back();
    let after = line[at + directory.len()..].chars().next();
    let continues = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let inside = |c: char| continues(c) || matches!(c, '.' | '/' | '}' | '>' | '*' | '~');
    !before.is_some_and(inside) && !after.is_some_and(continues)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let findings = check(&[Source::new(path, text)]);
        findings.into_iter().map(|finding| (finding.line, finding.message)).collect()
    }

    fn one(path: &str, text: &str, line: usize, expected: &str) {
        let found = found(path, text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, line, "{found:?}");
        assert!(found[0].1.contains(expected), "{found:?}");
    }

    #[test]
    fn clean_files_pass() {
        let text = "#![allow(unsafe_code)]\n//! A room.\nfn f() { a.unwrap_or(0); }\n\
                    #[cfg(test)]\nmod tests { fn g() { a.unwrap(); } }\n";
        assert!(found("src/a.rs", text).is_empty());
        assert!(found("README.md", "src/work and https://example.org/tmp").is_empty());
    }

    #[test]
    fn a_file_that_does_not_say_what_it_is_for_is_found() {
        one("src/a.rs", "/// Item.\nfn f() {}", 1, "open the file");
        one("tests/a.rs", "", 1, "open the file");
    }

    #[test]
    fn a_long_line_is_found() {
        let text = format!("//! A.\n// {}\n", "é".repeat(98));
        one("benches/a.rs", &text, 2, "101 columns");
        assert!(found("docs/a.md", &text).is_empty());
    }

    #[test]
    fn unfinished_code_is_found() {
        one("src/a.rs", "//! A.\nfn f() { todo!() }", 2, "`todo!`");
        one("src/a.rs", "//! A.\nfn f() { unimplemented!() }", 2, "`unimplemented!`");
        one("src/a.rs", "//! A.\nfn f() { dbg!(1); }", 2, "`dbg!`");
        one("src/a.rs", "//! A.\nfn f() { a\n.unwrap(); }", 3, "`unwrap()`");
        one("src/a.rs", concat!("//! A.\n// TO", "DO: more\n"), 2, "a note to oneself");
    }

    #[test]
    fn a_dependency_outside_its_room_is_found() {
        one("src/net/a.rs", "//! A.\nuse libc::c_int;", 2, "`libc` is named in src/sys/");
        one("src/net/a.rs", "//! A.\nfn f() { nix::unistd::close(3) }", 2, "`nix`");
        one("src/sync/ring.rs", "//! A.\nuse crossbeam_epoch as e;", 2, "`crossbeam_epoch`");
        assert!(found("src/sys/fd.rs", "//! A.\nuse libc::c_int;").is_empty());
        assert!(found("src/sync/reclaim.rs", "//! A.\nuse crossbeam_epoch::pin;").is_empty());
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        one("scripts/a", concat!("cd /", "tmp/x"), 1, "path of one machine");
        one("src/a.rs", concat!("//! A.\nconst A: &str = \"/", "root\";"), 2, "path of one");
        one("docs/a.md", concat!("see /", "work/main"), 1, "path of one machine");
    }
}
