//! CONFIG REWRITE: the file says what holds now, and keeps its comments and its order.
//!
//! The file is read as a start would read it, includes and all. A directive that comes out right
//! keeps its lines; one that does not is brought up to date where it stands first; and after that
//! whatever still differs is appended. So the result gives the live values by construction,
//! wherever an `include` may stand, and a file that gives them already is not touched.
//!
//! A file that a start would refuse is not rewritten: nobody could say what it means.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::directive::find;
use super::directives::{COUNT, TABLE};
use super::file::{parse_line, raw_lines};
use super::load::{LoadError, Loaded};
use super::value::Value;
use super::values::Values;

/// The comment over the lines that were appended.
const MARK: &str = "# Written by CONFIG REWRITE";

/// The text of the file at `path`, which holds `old` now, that gives `values`.
pub(super) fn render(path: &Path, old: &[u8], values: &Values) -> Result<Vec<u8>, LoadError> {
    let stale = values.differing(&Loaded::of_text(path, old)?);
    if stale.is_empty() {
        return Ok(old.to_vec());
    }
    let mut text = update_lines(old, &stale, values);
    let missing = values.differing(&Loaded::of_text(path, &text)?);
    if !missing.is_empty() && !raw_lines(&text).any(|line| line == MARK.as_bytes()) {
        push_line(&mut text, MARK.as_bytes());
    }
    for index in missing {
        append(&mut text, index, values);
    }
    Ok(text)
}

/// `old` with the first line of each `stale` directive saying its value, and its other lines gone.
fn update_lines(old: &[u8], stale: &[usize], values: &Values) -> Vec<u8> {
    let mut text = Vec::with_capacity(old.len());
    let mut done = [false; COUNT];
    let ended = old.strip_suffix(b"\n").unwrap_or(old);
    for line in raw_lines(ended).filter(|_| !old.is_empty()) {
        // The file was read already, so the number for an error message does not matter.
        let said = parse_line(line, 0).ok().flatten();
        let named = said.and_then(|said| Some((find(said.name.as_bytes())?, said.name)));
        match named.filter(|(index, _)| stale.contains(index)) {
            None => push_line(&mut text, line),
            Some((index, _)) if done[index] => {}
            Some((index, name)) => {
                done[index] = true;
                push_value(&mut text, &name, values.at(index));
            }
        }
    }
    text
}

fn append(text: &mut Vec<u8>, index: usize, values: &Values) {
    let name = TABLE[index].name;
    // `save` lines add up: those of an included file must not be added to ours.
    if matches!(values.at(index), Value::Save(rules) if !rules.is_empty()) {
        push_line(text, b"save \"\"");
    }
    push_value(text, name, values.at(index));
}

fn push_value(text: &mut Vec<u8>, name: &str, value: &Value) {
    for args in value.file_lines() {
        push_line(text, format!("{name} {args}").as_bytes());
    }
}

fn push_line(text: &mut Vec<u8>, line: &[u8]) {
    text.extend_from_slice(line);
    text.push(b'\n');
}

/// Puts `text` in the place of the file at `path` so that a crash leaves the old or the new one.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let temporary = temporary_name(&path);
    let written = write_synced(&temporary, &path, text);
    let renamed = written.and_then(|()| fs::rename(&temporary, &path));
    if renamed.is_err() {
        // The file is not ours to leave behind; the error that matters is the first one.
        _ = fs::remove_file(&temporary);
    }
    renamed?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn write_synced(temporary: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(temporary)?;
    file.set_permissions(fs::metadata(path)?.permissions())?;
    file.write_all(text)?;
    file.sync_all()
}

/// A name beside `path`, so that the rename stays within one file system.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::SplitMix64;

    fn values(text: &str) -> Values {
        Loaded::of_text(Path::new("x.conf"), text.as_bytes()).unwrap()
    }

    fn rewritten(old: &str, wanted: &str) -> String {
        let text = render(Path::new("x.conf"), old.as_bytes(), &values(wanted)).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_change_where_they_stand() {
        let old = "# head\nport 1   \n\n# memory\nMAXMEMORY 1mb\ntimeout 3";
        assert_eq!(
            rewritten(old, "port 1\nmaxmemory 2gb\ntimeout 3"),
            "# head\nport 1   \n\n# memory\nmaxmemory 2gb\ntimeout 3\n"
        );
    }

    #[test]
    fn what_the_file_does_not_say_is_appended_once_under_a_mark() {
        let text = rewritten("port 1\n", "port 1\ntimeout 3\n");
        assert_eq!(text, format!("port 1\n{MARK}\ntimeout 3\n"));
        let text = rewritten(&text, "port 1\ntimeout 3\nhz 20\n");
        assert_eq!(text, format!("port 1\n{MARK}\ntimeout 3\nhz 20\n"));
        assert_eq!(rewritten("", ""), "");
    }

    #[test]
    fn a_value_that_is_the_default_again_is_said_where_it_stood() {
        assert_eq!(rewritten("port 1\ntimeout 3\n", ""), "port 6379\ntimeout 0\n");
    }

    #[test]
    fn several_lines_of_a_directive_become_as_many_as_it_needs() {
        assert_eq!(
            rewritten("save 1 1\nhz 20\nsave 2 2\nsave 3 3\n", "save 900 1\nsave 60 5\nhz 20"),
            "save 900 1\nsave 60 5\nhz 20\n"
        );
        assert_eq!(rewritten("save 1 1\nsave 2 2\n", ""), "save 60 1\n");
        assert_eq!(rewritten("save 1 1\nsave 2 2\n", "save \"\""), "save \"\"\n");
        assert_eq!(
            rewritten(
                "client-output-buffer-limit normal 1 1 1\n",
                "client-output-buffer-limit pubsub 1gb 0 0"
            ),
            "client-output-buffer-limit normal 0 0 0\n\
             client-output-buffer-limit slave 256mb 64mb 60\n\
             client-output-buffer-limit pubsub 1gb 0 0\n"
        );
    }

    #[test]
    fn old_names_stay_as_the_file_has_them() {
        assert_eq!(rewritten("slave-priority 7\n", "replica-priority 8"), "slave-priority 8\n");
        assert_eq!(rewritten("data /a\n", "dir /b"), "data /b\n");
    }

    #[test]
    fn a_value_of_an_included_file_is_overruled_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("inc"), "hz 33\nsave 1 1\n").unwrap();
        let path = directory.path().join("main.conf");
        let old = b"hz 11\ninclude inc\n";
        let wanted = values("hz 44\nsave 2 2\n");
        let text = render(&path, old, &wanted).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&text),
            format!("hz 44\ninclude inc\n{MARK}\nhz 44\nsave \"\"\nsave 2 2\n")
        );
        assert_eq!(Loaded::of_text(&path, &text).unwrap(), wanted);
    }

    #[test]
    fn the_file_keeps_its_mode_and_leaves_nothing_beside_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.conf");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(replace(&directory.path().join("none/x.conf"), b"").is_err());
    }

    /// Values that differ from the default, one list for each kind that a file can say oddly.
    const ODD: [(&str, &[&str]); 12] = [
        ("requirepass", &["\"a b\"", "\"\\x00\\xff\"", "#x", "\"\"", "'\"'", "\"\\\\\""]),
        ("bind", &["\"\"", "::1 -127.0.0.2", "*"]),
        ("save", &["\"\"", "1 1 2 2", "3 0"]),
        ("maxmemory", &["1000", "1gb", "18446744073709551615"]),
        ("maxmemory-clients", &["3%", "7mb"]),
        ("unixsocketperm", &["700", "7"]),
        ("oom-score-adj-values", &["-1 0 1"]),
        ("notify-keyspace-events", &["KEA", "\"\"", "$m"]),
        ("latency-tracking-info-percentiles", &["\"\"", "1 2.5"]),
        ("shutdown-on-sigint", &["default", "now force"]),
        ("threads", &["auto", "7"]),
        ("client-output-buffer-limit", &["normal 1 2 3", "pubsub 1kb 1 1 slave 0 0 0"]),
    ];

    #[test]
    fn whatever_is_rewritten_reads_back_to_the_same_values() {
        let seed = SplitMix64::new(std::process::id().into()).next_u64();
        println!("seed {seed}");
        let mut random = SplitMix64::new(seed);
        let mut some_lines = || {
            let mut text = String::new();
            for _ in 0..random.next_u64() % 8 {
                let (name, texts) = ODD[(random.next_u64() % 12) as usize];
                let value = texts[random.next_u64() as usize % texts.len()];
                text.push_str(&format!("{name} {value}\n# a comment\n"));
            }
            text
        };
        for _ in 0..500 {
            let (old, wanted) = (some_lines(), some_lines());
            let text = rewritten(&old, &wanted);
            assert_eq!(values(&text), values(&wanted), "{old}---\n{wanted}---\n{text}");
            assert_eq!(rewritten(&text, &wanted), text, "a second time changes nothing");
        }
    }
}
