//! Sizes of functions and files, as ratchets: what is above the limit today is listed with its
//! size in `ratchet.tsv`, and that list may only shrink.

use crate::source::Source;
use crate::{Finding, finding};
use std::collections::BTreeMap;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;
const RATCHET: &str = "tests/tidy/ratchet.tsv";

/// What is too large: `path` or `path::function`, with its size and where it starts.
struct Oversize<'a> {
    source: &'a Source,
    line: usize,
    line_count: usize,
    limit: usize,
}

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut present = oversizes(sources);
    let ratchet = sources.iter().find(|source| source.path == RATCHET);
    for (index, row) in ratchet.map_or("", |source| &source.text).lines().enumerate() {
        if row.is_empty() || row.starts_with('#') {
            continue;
        }
        let mut report = |message: String| {
            findings.push(Finding::new(RATCHET, index + 1, &message));
        };
        let Some((name, allowed)) = parse_row(row) else {
            report("a row is `path::function<TAB>lines` or `path<TAB>lines`".into());
            continue;
        };
        match present.remove(name) {
            None => report(format!("`{name}` keeps the limit now: remove the row")),
            Some(item) if item.line_count < allowed => {
                report(format!("`{name}` has shrunk to {}: lower the row", item.line_count));
            }
            Some(item) if item.line_count > allowed => {
                report(format!(
                    "`{name}` has grown from {allowed} to {}: split it",
                    item.line_count
                ));
            }
            Some(_) => {}
        }
    }
    findings.extend(present.iter().map(|(name, item)| {
        finding(
            item.source,
            item.line,
            format!(
                "`{name}` has {} lines, the limit is {}: split it by what its parts do",
                item.line_count, item.limit
            ),
        )
    }));
    findings
}

fn parse_row(row: &str) -> Option<(&str, usize)> {
    let (name, lines) = row.split_once('\t')?;
    Some((name, lines.trim().parse().ok()?))
}

fn oversizes(sources: &[Source]) -> BTreeMap<String, Oversize<'_>> {
    let mut found = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let line_count = source.product_line_count();
        if source.is_product_code() && line_count > FILE_LINES_MAX {
            let item = Oversize { source, line: 1, line_count, limit: FILE_LINES_MAX };
            found.insert(source.path.clone(), item);
        }
        for function in source.functions() {
            if function.line_count > FUNCTION_LINES_MAX {
                let name = format!("{}::{}", source.path, function.name);
                let (line, line_count) = (function.line, function.line_count);
                found
                    .insert(name, Oversize { source, line, line_count, limit: FUNCTION_LINES_MAX });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(function_lines: usize, ratchet: &str) -> Vec<String> {
        let text = format!("//! A.\nfn long() {{\n{}}}\n", "\n".repeat(function_lines - 2));
        let sources = [Source::new("src/a.rs", &text), Source::new(RATCHET, ratchet)];
        check(&sources).into_iter().map(|finding| finding.message).collect()
    }

    fn one(function_lines: usize, ratchet: &str, expected: &str) {
        let messages = messages(function_lines, ratchet);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].contains(expected), "{messages:?}");
    }

    #[test]
    fn a_long_function_is_found_unless_listed_with_its_size() {
        assert!(messages(70, "").is_empty());
        one(71, "", "has 71 lines");
        assert!(messages(71, "src/a.rs::long\t71").is_empty());
    }

    #[test]
    fn the_list_can_only_shrink() {
        one(80, "src/a.rs::long\t79", "has grown");
        one(80, "src/a.rs::long\t81", "lower the row");
        one(70, "src/a.rs::long\t71", "remove the row");
        one(70, "src/a.rs::long", "a row is");
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let product = format!("//! A.\n{}", "// x\n".repeat(499));
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}", "\n".repeat(300));
        let source = Source::new("src/a.rs", &format!("{product}{tests}"));
        assert!(check(&[source]).is_empty());
        let source = Source::new("src/a.rs", &format!("{product}// x\n{tests}"));
        assert_eq!(check(&[source]).len(), 1);
    }
}
