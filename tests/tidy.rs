//! The house rules as a test: `cargo test --test tidy`.
//!
//! Each rule is a function from the repository's files to findings, and carries unit tests that
//! plant the mistake it is there to catch. A finding says what to do about it. Rules that the code
//! could not meet on the day they were made are ratchets (see `tidy/sizes.rs`).
//!
//! What rustc and clippy already check is not checked again here.

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/mistakes.rs"]
mod mistakes;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/style.rs"]
mod style;
#[path = "tidy/unsafety.rs"]
mod unsafety;

use source::Source;
use std::path::Path;
use std::sync::OnceLock;

/// One broken rule.
struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: &str) -> Finding {
        Finding { path: path.into(), line, message: message.into() }
    }
}

fn finding(source: &Source, line: usize, message: String) -> Finding {
    Finding { path: source.path.clone(), line, message }
}

#[test]
fn layers_point_downwards() {
    report(layers::check(repository()));
}

#[test]
fn unsafe_code_is_audited() {
    report(unsafety::check(repository()));
}

#[test]
fn files_keep_the_house_style() {
    report(style::check(repository()));
}

#[test]
fn functions_and_files_keep_their_size() {
    report(sizes::check(repository()));
}

#[test]
fn documents_are_in_order() {
    report(documents::check(repository()));
}

#[test]
fn planted_mistakes_fit_the_code() {
    report(mistakes::check(repository()));
}

fn report(findings: Vec<Finding>) {
    let lines: Vec<String> =
        findings.iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.message)).collect();
    assert!(lines.is_empty(), "\n{}\n\n{} finding(s)\n", lines.join("\n"), lines.len());
}

/// Every text file that belongs to the repository, sorted by path.
fn repository() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(read_repository)
}

fn read_repository() -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(top, &mut paths);
    paths.sort();
    let sources = paths.into_iter().filter_map(|path| {
        let text = std::fs::read_to_string(top.join(&path)).ok()?;
        Some(Source::new(&path, &text))
    });
    sources.collect()
}

/// What is built, generated or somebody's own is not the repository's.
const SKIPPED: [&str; 6] = ["target", "Cargo.lock", "data", "corpus", "artifacts", "shared"];

fn collect(directory: &Path, paths: &mut Vec<String>) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(directory).expect("the repository can be read");
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && name != ".ci";
        if hidden || SKIPPED.contains(&name.as_str()) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            collect(&path, paths);
        } else if let Ok(inside) = path.strip_prefix(top) {
            paths.push(inside.to_string_lossy().into_owned());
        }
    }
}
