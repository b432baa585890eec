//! The planted mistakes (`tests/mistakes`, run by `scripts/mistakes`) fit the code as it is: each
//! says what it breaks, its test exists, and its patch applies.

use crate::source::Source;
use crate::{Finding, finding};

const HOME: &str = "tests/mistakes/";
/// Fewer would leave rules without a proof.
const COUNT_MIN: usize = 20;

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let patches = || sources.iter().filter(|source| source.path.starts_with(HOME));
    let mut findings: Vec<Finding> =
        patches().flat_map(|patch| check_patch(patch, sources)).collect();
    let count = patches().count();
    if count < COUNT_MIN {
        let message = format!("{count} planted mistakes; there must be {COUNT_MIN}");
        findings.push(Finding::new(HOME, 1, &message));
    }
    findings
}

fn check_patch(patch: &Source, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for field in ["Mistake: ", "Rule: ", "Test: "] {
        if !patch.text.lines().any(|line| line.len() > field.len() && line.starts_with(field)) {
            findings.push(finding(patch, 1, format!("say `{field}...` above the patch")));
        }
    }
    let test = patch.text.lines().find_map(|line| line.strip_prefix("Test: "));
    if let Some(test) = test {
        let name = test.rsplit([' ', ':']).next().unwrap_or_default();
        let is_there = |source: &Source| source.text.contains(&format!("fn {name}("));
        if !sources.iter().any(is_there) {
            findings.push(finding(patch, 1, format!("there is no test `{name}`")));
        }
    }
    let hunks = hunks(&patch.text);
    if hunks.is_empty() {
        findings.push(finding(patch, 1, "there is no patch in it".into()));
    }
    for Hunk { line, path, before } in hunks {
        let target = sources.iter().find(|source| source.path == path);
        if !target.is_some_and(|source| source.text.contains(&before)) {
            let message = format!("this part no longer applies to {path}: plant it anew");
            findings.push(finding(patch, line, message));
        }
    }
    findings
}

/// A part of a patch.
struct Hunk {
    line: usize,
    /// The file that it changes.
    path: String,
    /// The text that it expects there.
    before: String,
}

fn hunks(patch: &str) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    let mut path = "";
    for (index, line) in patch.lines().enumerate() {
        if let Some(name) = line.strip_prefix("--- a/") {
            path = name;
        } else if line.starts_with("@@ ") {
            hunks.push(Hunk { line: index + 1, path: path.into(), before: String::new() });
        } else if let Some(hunk) = hunks.last_mut()
            && let Some(text) = line.strip_prefix([' ', '-'])
            && !line.starts_with("---")
        {
            hunk.before.push_str(text);
            hunk.before.push('\n');
        }
    }
    hunks
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "Mistake: It waits for nothing.\nRule: E1\nTest: --test log one::it_waits\n\
        \n--- a/src/a.rs\n+++ b/src/a.rs\n@@ -1,3 +1,2 @@\n fn a() {\n-    wait();\n }\n";

    fn messages(patch: &str, code: &str, test: &str) -> Vec<String> {
        let sources = [Source::new("src/a.rs", code), Source::new("tests/log.rs", test)];
        let patch = Source::new("tests/mistakes/a.patch", patch);
        check_patch(&patch, &sources).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_mistake_that_no_longer_fits_is_found() {
        let (code, test) = ("fn a() {\n    wait();\n}\n", "fn it_waits() {}\n");
        assert_eq!(messages(PATCH, code, test), [""; 0]);
        let moved = messages(PATCH, "fn a() {\n    wait(1);\n}\n", test);
        assert!(moved.len() == 1 && moved[0].contains("no longer applies"), "{moved:?}");
        let renamed = messages(PATCH, code, "fn waits() {}\n");
        assert_eq!(renamed, ["there is no test `it_waits`"]);
        let silent = messages(&PATCH.replace("Rule: E1\n", ""), code, test);
        assert_eq!(silent, ["say `Rule: ...` above the patch"]);
    }

    #[test]
    fn too_few_are_found() {
        assert_eq!(check(&[]).len(), 1);
    }
}
