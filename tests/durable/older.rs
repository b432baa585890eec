//! Data that older builds wrote: it is read, and goes on in what is written now.

use super::files::filled;
use super::rounds::end;
use super::start;
use crate::common::server::Server;
use crate::common::value::Value;
use std::path::Path;

/// See the head of the file.
const FORMAT_1: &str = include_str!("../fixtures/log_format_1.txt");

/// Makes the files that a fixture tells of.
fn lay_out(fixture: &str, data: &Path) {
    std::fs::create_dir_all(data).expect("made");
    let mut file: Option<(&str, Vec<u8>)> = None;
    let write = |file: Option<(&str, Vec<u8>)>| {
        let Some((name, bytes)) = file else { return };
        std::fs::write(data.join(name), bytes).expect("written");
    };
    for line in fixture.lines().filter(|line| !line.starts_with('#')) {
        if let Some(told) = line.strip_prefix("file ") {
            let (name, len) = told.split_once(' ').expect("a name and a length");
            write(file.replace((name, vec![0; len.parse().expect("a length")])));
            continue;
        }
        let (offset, row) = line.split_once(' ').expect("an offset and bytes");
        let offset = usize::from_str_radix(offset, 16).expect("an offset");
        let (_, bytes) = file.as_mut().expect("a file comes first");
        for (at, digits) in row.as_bytes().chunks(2).enumerate() {
            let digits = std::str::from_utf8(digits).expect("text");
            bytes[offset + at] = u8::from_str_radix(digits, 16).expect("a byte");
        }
    }
    write(file);
}

fn say(server: &Server, commands: &[&[&str]]) -> Vec<Value> {
    let mut client = server.client();
    let call = |command: &&[&str]| client.call(command).expect("a reply");
    commands.iter().map(call).collect()
}

/// That what the fixture was told is there, and `later` behind it.
fn holds(server: &Server, later: &str) {
    let text = |text: &str| Value::bulk(text);
    let texts = |all: &[&str]| Value::Array(all.iter().map(|one| text(one)).collect());
    let found = say(
        server,
        &[
            &["GET", "one"],
            &["LRANGE", "list", "0", "-1"],
            &["GET", "count"],
            &["EXISTS", "gone", "brief", "two"],
            &["HMGET", "hash", "f", "g"],
            &["GET", "deux"],
            &["MGET", "m1", "m2", "later"],
            &["ZSCORE", "z", "m"],
            &["SMISMEMBER", "set", "1", "2", "3"],
            &["SELECT", "3"],
            &["GET", "other"],
        ],
    );
    let later = if later.is_empty() { Value::NilBulk } else { text(later) };
    let want = [
        text("123"),
        texts(&["a", "b", "c"]),
        text("8"),
        Value::Int(0),
        texts(&["v", "w"]),
        text("2"),
        Value::Array(vec![text("x"), text("y"), later]),
        text("1.5"),
        Value::Array(vec![Value::Int(1), Value::Int(1), Value::Int(0)]),
        Value::Simple(b"OK".into()),
        text("db"),
    ];
    assert_eq!(found, want);
}

/// Files of the log with a commit that begins with `magic`.
fn with_magic(home: &Path, magic: &[u8]) -> usize {
    let begins = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).expect("read");
        bytes.chunks(4096).any(|block| block.starts_with(magic))
    };
    super::files::listed(home, "log-").iter().filter(|path| begins(path)).count()
}

#[test]
fn a_log_of_format_1_is_read_and_goes_on_in_format_2() {
    for with_snapshot in [true, false] {
        let home = tempfile::tempdir().expect("a directory");
        let data = home.path().join("data");
        lay_out(FORMAT_1, &data);
        if !with_snapshot {
            // The log is whole from its beginning.
            for path in super::files::listed(home.path(), "snapshot-") {
                std::fs::remove_file(path).expect("removed");
            }
        }
        assert_eq!(with_magic(home.path(), b"DWC1"), 2, "two lives have written");
        assert!(filled(home.path()).is_empty(), "nothing is of format 2");
        let server = start(home.path(), &[]);
        holds(&server, "");
        say(&server, &[&["SET", "later", "there"]]);
        server.kill();
        assert_eq!(filled(home.path()).len(), 1, "what follows is of format 2");
        for _ in 0..2 {
            let server = start(home.path(), &[]);
            holds(&server, "there");
            end(server);
        }
        assert_eq!(with_magic(home.path(), b"DWC1"), 2, "what was there stays");
    }
}

#[test]
fn damage_in_a_log_of_format_1_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    lay_out(FORMAT_1, &home.path().join("data"));
    let first = super::files::listed(home.path(), "log-").remove(0);
    // Behind the snapshot, in the body of a record, far below what was durable.
    super::files::flip(&first, 0xb000 + 64 + 40);
    let said = super::files::refusal(home.path());
    assert!(said.contains("the log is damaged: log-0000000000000000-00000001.dse"), "{said}");
}
