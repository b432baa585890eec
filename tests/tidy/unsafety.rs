//! Unsafe code: only in its rooms, each block with an id, each id in the ledger, each invariant
//! explained, each test that the ledger names existing.

use crate::source::Source;
use crate::{Finding, finding};
use std::collections::{BTreeMap, BTreeSet};

/// Where unsafe code may stand: a room, or a module in one file or a directory of them. A new
/// place needs a decision record.
const ROOMS: [&str; 5] =
    ["src/sync", "src/sys", "src/store/table", "src/store/entry", "src/store/slab"];
const LEDGER: &str = "unsafe_audit/ledger.tsv";
const INVARIANTS: &str = "unsafe_audit/invariants.md";

/// One `// SAFETY: [id] I-NAME: reason` comment.
struct Claim<'a> {
    source: &'a Source,
    line: usize,
    id: &'a str,
    invariant: &'a str,
}

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut claims: BTreeMap<&str, Claim<'_>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        check_rooms(source, &mut findings);
        let blocks = unsafe_lines(source);
        let mut comment_count = 0;
        for (index, line) in source.text.lines().enumerate() {
            let Some(comment) = safety_comment(line) else { continue };
            comment_count += 1;
            match parse_claim(source, index + 1, comment) {
                None => findings.push(finding(source, index + 1, BAD_FORM.into())),
                Some(claim) => {
                    let id = claim.id;
                    if claims.insert(id, claim).is_some() {
                        findings.push(finding(
                            source,
                            index + 1,
                            format!(
                                "id {id} stands here and elsewhere: each block has an id of its own"
                            ),
                        ));
                    }
                }
            }
        }
        if in_unsafe_room(&source.path) && blocks.len() != comment_count {
            findings.push(finding(
                source,
                1,
                format!(
                    "{} unsafe blocks and impls, but {comment_count} SAFETY comments: put one \
                 `// SAFETY: [id] I-NAME: reason` above each",
                    blocks.len()
                ),
            ));
        }
    }
    check_ledger(sources, &claims, &mut findings);
    findings
}

const BAD_FORM: &str = "write `// SAFETY: [room-NNN] I-NAME: why it holds here.`";

fn in_unsafe_room(path: &str) -> bool {
    let behind = ROOMS.iter().filter_map(|room| path.strip_prefix(room));
    behind.into_iter().any(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn check_rooms(source: &Source, findings: &mut Vec<Finding>) {
    if in_unsafe_room(&source.path) || !source.path.starts_with("src/") {
        return;
    }
    let lines = source.tokens.iter().filter(|t| t.text == "unsafe").map(|t| t.line);
    let allows = source.find(&["allow", "(", "unsafe_code"]).map(|at| source.tokens[at].line);
    findings.extend(lines.chain(allows).map(|line| {
        finding(
            source,
            line,
            "unsafe outside its rooms: call a safe function of `sync`, `sys` \
                               or the store's table, entry and slab"
                .into(),
        )
    }));
}

/// Lines of `unsafe {` and `unsafe impl`: what needs an id. (`unsafe fn` documents `# Safety`.)
fn unsafe_lines(source: &Source) -> Vec<usize> {
    let blocks = source.find(&["unsafe", "{"]);
    let impls = source.find(&["unsafe", "impl"]);
    blocks.chain(impls).map(|at| source.tokens[at].line).collect()
}

fn safety_comment(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("// ")?.strip_prefix("SAFETY:")
}

fn parse_claim<'a>(source: &'a Source, line: usize, comment: &'a str) -> Option<Claim<'a>> {
    let (id, rest) = comment.trim_start().strip_prefix('[')?.split_once(']')?;
    let (room, number) = id.rsplit_once('-')?;
    let (invariant, _) = rest.trim_start().split_once(':')?;
    let well_formed = !room.is_empty()
        && number.len() == 3
        && number.bytes().all(|digit| digit.is_ascii_digit())
        && invariant.strip_prefix("I-").is_some_and(|name| !name.is_empty())
        && !invariant.contains(' ');
    well_formed.then_some(Claim { source, line, id, invariant })
}

fn check_ledger(sources: &[Source], claims: &BTreeMap<&str, Claim<'_>>, out: &mut Vec<Finding>) {
    let Some(ledger) = sources.iter().find(|source| source.path == LEDGER) else {
        out.push(Finding::new(LEDGER, 1, "the ledger of unsafe blocks is missing"));
        return;
    };
    let explained = explained_invariants(sources);
    let functions = function_names(sources);
    let mut listed = BTreeSet::new();
    for (index, row) in ledger.text.lines().enumerate() {
        if row.is_empty() || row.starts_with('#') {
            continue;
        }
        let mut report = |message: String| out.push(finding(ledger, index + 1, message));
        let columns: Vec<&str> = row.split('\t').collect();
        let [id, invariant, tests] = columns[..] else {
            report("a row is `id<TAB>invariant<TAB>tests`".into());
            continue;
        };
        if !listed.insert(id) {
            report(format!("{id} is listed twice"));
        }
        match claims.get(id) {
            None => report(format!("no block has the id {id}: remove the row")),
            Some(claim) if claim.invariant != invariant => report(format!(
                "{id} leans on {} in {}:{}, not on {invariant}",
                claim.invariant, claim.source.path, claim.line
            )),
            Some(_) => {}
        }
        if !explained.contains(invariant) {
            report(format!("{invariant} has no `## {invariant}` section in {INVARIANTS}"));
        }
        for test in tests.split(',').map(str::trim) {
            if !functions.contains(test) {
                report(format!("{id} names the test `{test}`, which does not exist"));
            }
        }
    }
    for claim in claims.values().filter(|claim| !listed.contains(claim.id)) {
        out.push(finding(
            claim.source,
            claim.line,
            format!(
                "{} is not in {LEDGER}: add `{}<TAB>{}<TAB>tests that attack it`",
                claim.id, claim.id, claim.invariant
            ),
        ));
    }
}

fn explained_invariants(sources: &[Source]) -> BTreeSet<&str> {
    let text = sources.iter().find(|source| source.path == INVARIANTS).map_or("", |s| &s.text);
    let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
    headings.filter_map(|heading| heading.split([' ', ':']).next()).collect()
}

fn function_names(sources: &[Source]) -> BTreeSet<&str> {
    let names = sources.iter().flat_map(|source| {
        source.find(&["fn"]).filter_map(|at| source.tokens.get(at + 1)).map(|t| t.text.as_str())
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "// SAFETY: [ring-001] I-RING: the slot is ours.\n\
                        fn f() { unsafe { g() } }\nfn attack() {}";

    fn messages(path: &str, code: &str, ledger: &str, invariants: &str) -> Vec<String> {
        let sources = [
            Source::new(path, code),
            Source::new(LEDGER, ledger),
            Source::new(INVARIANTS, invariants),
        ];
        check(&sources).into_iter().map(|finding| finding.message).collect()
    }

    fn one_finding(path: &str, code: &str, ledger: &str, invariants: &str, expected: &str) {
        let messages = messages(path, code, ledger, invariants);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].contains(expected), "{messages:?}");
    }

    #[test]
    fn a_complete_block_passes() {
        let ledger = "# id\nring-001\tI-RING\tattack\n";
        assert!(messages("src/sync/ring.rs", GOOD, ledger, "## I-RING\n").is_empty());
    }

    #[test]
    fn each_gap_in_the_audit_is_found() {
        let row = "ring-001\tI-RING\tattack";
        let why = "## I-RING";
        let ring = "src/sync/ring.rs";
        one_finding(ring, GOOD, "", why, "is not in");
        one_finding(ring, GOOD, "ring-001\tI-RING\tabsent", why, "does not exist");
        one_finding(ring, GOOD, row, "", "has no `## I-RING`");
        one_finding(ring, "fn attack() {}", row, why, "no block has the id");
        let other = "ring-001\tI-PIN\tattack";
        one_finding(ring, GOOD, other, "## I-PIN", "leans on I-RING");
        let twice = format!("{row}\n{row}");
        one_finding(ring, GOOD, &twice, why, "listed twice");
    }

    #[test]
    fn a_ledger_row_of_another_form_is_found() {
        one_finding("src/sync/ring.rs", "fn f() {}", "ring-001\tI-RING", "", "a row is");
    }

    #[test]
    fn a_block_without_an_id_is_found() {
        one_finding("src/sys/fd.rs", "fn f() { unsafe { g() } }", "", "", "1 unsafe blocks");
        let bad = "// SAFETY: it is fine.\nfn f() { unsafe { g() } }";
        one_finding("src/sys/fd.rs", bad, "", "", "write `// SAFETY: [");
    }

    #[test]
    fn unsafe_in_another_room_is_found() {
        one_finding("src/net/a.rs", "unsafe impl Send for A {}", "", "", "outside its rooms");
        one_finding("src/net/a.rs", "#![allow(unsafe_code)]", "", "", "outside its rooms");
        one_finding("src/store/set.rs", "fn f() { unsafe { g() } }", "", "", "outside its rooms");
        one_finding("src/store/tables.rs", "fn f() { unsafe { g() } }", "", "", "outside its");
    }
}
