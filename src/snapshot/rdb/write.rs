//! RDB files of version 10, with plain encodings: Redis chooses its own when it loads them.

use super::VERSION;
use super::value::{RdbValueRef, push_len, push_string};
use crate::limits::DATABASES;
use crate::store::Store;
use crate::util::crc64::crc64;
use std::io::{self, Write};

/// Bytes gathered before they are written.
const BUFFER: usize = 64 * 1024;
/// Keys taken under one lock by an export.
const SLICE_KEYS: usize = 256;

/// A file that is being written. What is written is worth something only after
/// [`Writer::finish`].
pub struct Writer<W> {
    out: W,
    buffer: Vec<u8>,
    crc: u64,
    db: Option<u8>,
    compress: bool,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file. `compress`: strings are compressed where that saves something.
    pub fn new(out: W, compress: bool) -> Writer<W> {
        let mut buffer = format!("REDIS{VERSION:04}").into_bytes();
        for (field, value) in [("redis-ver", "7.0.15"), ("redis-bits", "64"), ("aof-base", "0")] {
            buffer.push(0xfa);
            push_string(field.as_bytes(), false, &mut buffer);
            push_string(value.as_bytes(), false, &mut buffer);
        }
        Writer { out, buffer, crc: 0, db: None, compress, bytes: 0 }
    }

    /// Writes a key with its value, a collection of at least one element. `deadline` is the
    /// moment (ms since 1970) at which it ceases to exist.
    pub fn record(
        &mut self,
        db: u8,
        key: &[u8],
        deadline: Option<u64>,
        value: RdbValueRef<'_>,
    ) -> io::Result<()> {
        let Writer { out, buffer, crc, compress, bytes, .. } = self;
        if self.db.replace(db) != Some(db) {
            buffer.push(0xfe);
            push_len(db.into(), buffer);
        }
        if let Some(deadline) = deadline {
            let deadline = i64::try_from(deadline).unwrap_or(i64::MAX);
            buffer.push(0xfc);
            buffer.extend_from_slice(&deadline.to_le_bytes());
        }
        buffer.push(value.kind());
        push_string(key, *compress, buffer);
        value.write(*compress, buffer, &mut |buffer| {
            if buffer.len() < BUFFER {
                return Ok(());
            }
            spill(out, buffer, crc, bytes)
        })
    }

    /// Ends the file; what it was written to, and its bytes. Making them durable is up to the
    /// caller.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.buffer.push(0xff);
        spill(&mut self.out, &mut self.buffer, &mut self.crc, &mut self.bytes)?;
        self.out.write_all(&self.crc.to_le_bytes())?;
        self.out.flush()?;
        Ok((self.out, self.bytes + 8))
    }
}

fn spill(
    out: &mut impl Write,
    buffer: &mut Vec<u8>,
    crc: &mut u64,
    bytes: &mut u64,
) -> io::Result<()> {
    *crc = crc64(*crc, buffer);
    *bytes += buffer.len() as u64;
    out.write_all(buffer)?;
    buffer.clear();
    Ok(())
}

/// Writes all keys of `store` to a file; how many there were. The caller sees to it that nobody
/// changes the store meanwhile: the file would hold no one moment of it.
pub fn export<W: Write>(store: &Store, out: W, compress: bool) -> io::Result<(W, u64)> {
    let (mut writer, mut keys) = (Writer::new(out, compress), 0);
    for db in 0..DATABASES as u8 {
        let mut cursor = 0;
        loop {
            let mut outcome = Ok(());
            cursor = store.scan(db, cursor, SLICE_KEYS, &mut |entry, object| {
                let value = object.map_or(RdbValueRef::Str(entry.value()), RdbValueRef::Object);
                if outcome.is_ok() {
                    outcome = writer.record(db, entry.key(), entry.deadline(), value);
                    keys += 1;
                }
            });
            outcome?;
            if cursor == 0 {
                break;
            }
        }
    }
    Ok((writer.finish()?.0, keys))
}
