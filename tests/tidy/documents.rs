//! The papers of the house: they are there, decision records have numbers of their own, and the
//! files that a document links to exist.

use crate::source::Source;
use crate::{Finding, finding};
use std::collections::{BTreeMap, BTreeSet};

const REQUIRED: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "docs/glossary.md",
    "docs/engine-rules.md",
];
const DECISIONS: &str = "docs/decisions/";

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let paths: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let missing = REQUIRED.iter().filter(|path| !paths.contains(*path));
    let mut findings: Vec<Finding> =
        missing.map(|path| Finding::new(path, 1, "this document is missing")).collect();
    check_decisions(sources, &mut findings);
    for source in sources.iter().filter(|source| source.path.ends_with(".md")) {
        check_links(source, &paths, &mut findings);
    }
    findings
}

fn check_decisions(sources: &[Source], findings: &mut Vec<Finding>) {
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    for source in sources {
        let Some(name) = source.path.strip_prefix(DECISIONS) else { continue };
        let number = name.split('-').next().unwrap_or_default();
        let is_number = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit());
        if !is_number {
            findings.push(finding(source, 1, "name a record NNNN-title.md".into()));
        } else if let Some(other) = numbers.insert(number, name) {
            findings.push(finding(
                source,
                1,
                format!("number {number} belongs to {other} already: take the next free one"),
            ));
        }
    }
}

/// Every `](relative/path)` leads to a file or a directory of the repository.
fn check_links(source: &Source, paths: &BTreeSet<&str>, findings: &mut Vec<Finding>) {
    for (index, line) in source.text.lines().enumerate() {
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split(')').next().unwrap_or_default();
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let resolved = resolve(&source.path, target);
            let is_directory = || paths.iter().any(|path| path.starts_with(&resolved));
            if !paths.contains(resolved.as_str()) && !is_directory() {
                findings.push(finding(source, index + 1, format!("`{target}` does not exist")));
            }
        }
    }
}

/// `target` as seen from the directory of the file `from`, with `..` removed.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(extra: &[(&str, &str)]) -> Vec<String> {
        let required = REQUIRED.iter().map(|path| (*path, ""));
        let all = required.chain(extra.iter().copied());
        let sources: Vec<Source> = all.map(|(path, text)| Source::new(path, text)).collect();
        check(&sources).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_missing_paper_is_found() {
        assert_eq!(check(&[]).len(), REQUIRED.len());
        assert!(messages(&[]).is_empty());
    }

    #[test]
    fn a_decision_number_used_twice_is_found() {
        let first = ("docs/decisions/0001-a.md", "");
        let found = messages(&[first, ("docs/decisions/0001-b.md", "")]);
        assert!(found.len() == 1 && found[0].contains("belongs to 0001-a.md"), "{found:?}");
        assert_eq!(messages(&[("docs/decisions/title.md", "")]).len(), 1);
        assert!(messages(&[first, ("docs/decisions/0002-b.md", "")]).is_empty());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let good = "[a](../../README.md) [b](https://example.org/x) [c](#x) [d](..)";
        assert!(messages(&[("docs/decisions/0001-a.md", good)]).is_empty());
        assert_eq!(messages(&[("docs/a.md", "[a](absent.md#x)")]).len(), 1);
    }
}
