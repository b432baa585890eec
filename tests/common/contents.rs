//! All that a server holds, entry by entry, as its own snapshot tells it: kinds, deadlines, forms,
//! and the order that collections keep.

use super::server::Server;
use super::value::Value;
use dse::snapshot::{SnapshotReader, names};
use dse::store::DecodedValue;
use dse::sys::disk::Directory;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;

/// By database and key: the deadline, and the value as bytes.
pub type Entries = BTreeMap<(u8, Vec<u8>), (Option<u64>, Vec<u8>)>;

/// Asks for a snapshot and reads it. Keys whose deadline is near are left out: whether they are
/// removed already is each server's own.
pub fn entries(server: &Server, home: &Path) -> Entries {
    let mut client = server.client();
    assert_eq!(client.call(&["SAVE"]).expect("a reply"), Value::Simple(b"OK".into()));
    let disk = Directory::open(&home.join("data")).expect("there");
    let newest = names::list(&disk).expect("listed").remove(0);
    let reader = SnapshotReader::open(&disk, &newest.name).expect("whole");
    let mut entries = Entries::new();
    let mut add = |_: u16, entry: dse::store::DecodedEntry<'_>| {
        if entry.deadline.is_some_and(|at| at < 3_000_000_000_000) {
            return;
        }
        let mut bytes = Vec::new();
        match &entry.value {
            DecodedValue::Str(text) => bytes.extend([&b"text "[..], text].concat()),
            DecodedValue::Raw(text) => bytes.extend([&b"raw "[..], text].concat()),
            DecodedValue::Object(object) => object.encode(&mut bytes),
        }
        entries.insert((entry.db, entry.key.to_vec()), (entry.deadline, bytes));
    };
    reader.entries(&mut add).expect("whole");
    entries
}

/// How often a copy begins again because the server moved its files meanwhile.
const COPIES_MAX: usize = 100;

/// Copies the files of a server that writes nothing, or is gone. A running one may still be
/// preparing the next file of its log under a name that does not last: then the copy begins again.
pub fn copy(from: &Path, to: &Path, with_snapshots: bool) {
    for _ in 0..COPIES_MAX {
        match copy_once(&from.join("data"), &to.join("data"), with_snapshots) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other.expect("copied"),
        }
    }
    panic!("the files of {} do not come to rest", from.display());
}

fn copy_once(from: &Path, to: &Path, with_snapshots: bool) -> io::Result<()> {
    // What an earlier attempt copied may have another name by now.
    match std::fs::remove_dir_all(to) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => std::fs::create_dir_all(to)?,
    }
    for entry in std::fs::read_dir(from)? {
        let name = entry?.file_name();
        if with_snapshots || !name.to_string_lossy().starts_with("snapshot") {
            std::fs::copy(from.join(&name), to.join(&name))?;
        }
    }
    Ok(())
}

/// Fails where two servers hold different things.
pub fn assert_same(want: &Entries, have: &Entries, what: &str) {
    for (key, value) in want {
        let (db, name) = (key.0, String::from_utf8_lossy(&key.1));
        let found = have.get(key);
        let show = |value: &(_, Vec<u8>)| {
            format!("{:?} {}", value.0, value.1[..value.1.len().min(200)].escape_ascii())
        };
        assert!(
            found == Some(value),
            "{what}: {name} in database {db} was {}, is {:?}",
            show(value),
            found.map(show)
        );
    }
    let more: Vec<_> = have.keys().filter(|key| !want.contains_key(*key)).collect();
    assert!(more.is_empty(), "{what}: {more:?} should not be there");
}
