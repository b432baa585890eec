//! `dse-admin restore`, `import` and `export`: a keyspace becomes a new directory, or a file.
//!
//! What is written is a snapshot that is cut at one position, with a data id of its own: from
//! here on it is another history, and files of the old one do not belong to it.

use super::Out;
use super::cli::Until;
use super::directory::{Data, time};
use super::error::AdminError;
use super::keyspace::{Keyspace, newest_clock};
use crate::commands::random_seed;
use crate::limits::{LOG_BLOCK_BYTES, SHARDS};
use crate::snapshot::names::TEMPORARY;
use crate::snapshot::rdb;
use crate::snapshot::{SnapshotMeta, SnapshotWriter};
use crate::store::Store;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Writes the keyspace at `until` into the new directory `into`.
pub(super) fn restore(
    path: &Path,
    until: Until,
    into: &Path,
    out: Out<'_>,
) -> Result<(), AdminError> {
    let data = Data::open(path)?;
    let keyspace = Keyspace::load(&data, until)?;
    let target = Data::create(into)?;
    let at = keyspace.at.next_multiple_of(LOG_BLOCK_BYTES);
    let name = write_snapshot(keyspace.store(), &target, at)?;
    tell_source(&keyspace, out)?;
    let keys = keyspace.keys();
    writeln!(out, "{keys} keys are in {}", into.join(name).display()).map_err(AdminError::Output)
}

fn tell_source(keyspace: &Keyspace, out: Out<'_>) -> Result<(), AdminError> {
    let mut lines = keyspace.warnings.clone();
    if let Some(file) = &keyspace.snapshot {
        lines.push(format!("snapshot: {file}"));
    }
    if let Some((lsn, clock_ms)) = keyspace.last {
        let records = keyspace.records;
        let when = time(clock_ms);
        lines.push(format!("log: {records} records applied, the last at {lsn}, time {when}"));
    }
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(AdminError::Output)
}

/// Makes the data directory `into` from an RDB file.
pub(super) fn import(file: &Path, into: &Path, out: Out<'_>) -> Result<(), AdminError> {
    let bad = |error| AdminError::Rdb(file.to_owned(), error);
    let opened = File::open(file).map_err(|error| bad(error.into()))?;
    let store = Store::new(random_seed());
    let summary = rdb::import(&mut BufReader::new(opened), &store).map_err(bad)?;
    let target = Data::create(into)?;
    let name = write_snapshot(&store, &target, 0)?;
    let rdb::Summary { version, keys, keys_with_deadline, empty_keys, bytes } = summary;
    writeln!(
        out,
        "{}: RDB version {version}, {bytes} bytes, {keys} keys ({keys_with_deadline} with a \
         deadline), {empty_keys} empty ones passed over\n{keys} keys are in {}",
        file.display(),
        into.join(name).display()
    )
    .map_err(AdminError::Output)
}

/// Writes all data to an RDB file, which gets its name when it is whole.
pub(super) fn export(path: &Path, file: &Path, out: Out<'_>) -> Result<(), AdminError> {
    let data = Data::open(path)?;
    if file.exists() {
        return Err(AdminError::Exists(file.to_owned()));
    }
    let keyspace = Keyspace::load(&data, Until::End)?;
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let keys = write_rdb(keyspace.store(), &temporary).map_err(|error| {
        // A part of a file is of no use; the error that counts is the first.
        _ = std::fs::remove_file(&temporary);
        AdminError::Rdb(file.to_owned(), error.into())
    })?;
    std::fs::rename(&temporary, file)?;
    tell_source(&keyspace, out)?;
    writeln!(out, "{keys} keys are in {}", file.display()).map_err(AdminError::Output)
}

fn write_rdb(store: &Store, path: &Path) -> io::Result<u64> {
    let file = BufWriter::new(File::create(path)?);
    let (file, keys) = rdb::export(store, file, true)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(keys)
}

/// Writes all of `store` as a snapshot that is cut at position `at`; its name.
fn write_snapshot(store: &Store, target: &Data, at: u64) -> Result<String, AdminError> {
    let meta = SnapshotMeta {
        database_id: random_seed(),
        snapshot_id: random_seed(),
        generation: 0,
        compress: true,
    };
    let mut writer = SnapshotWriter::create(Arc::clone(&target.disk), TEMPORARY, meta)?;
    writer.store(store)?;
    let finished = writer.finish(&[at; SHARDS], newest_clock(store), at)?;
    Ok(finished.publish()?)
}
