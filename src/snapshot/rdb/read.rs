//! RDB files, read from the front.

use super::input::Input;
use super::value::{self, RdbValue};
use super::{RdbError, VERSION_MAX};
use crate::limits::{DATABASES, STRING_LEN_MAX};
use crate::store::{Store, Value};
use std::io::{Read, Seek, SeekFrom};

/// What stands where a type of value could.
mod opcode {
    pub const FUNCTION: u8 = 0xf5;
    pub const FUNCTION_OLD: u8 = 0xf6;
    pub const MODULE_AUX: u8 = 0xf7;
    pub const IDLE: u8 = 0xf8;
    pub const FREQ: u8 = 0xf9;
    pub const AUX: u8 = 0xfa;
    pub const SIZES: u8 = 0xfb;
    pub const DEADLINE_MS: u8 = 0xfc;
    pub const DEADLINE_S: u8 = 0xfd;
    pub const DATABASE: u8 = 0xfe;
    pub const END: u8 = 0xff;
}

/// The first version that ends in a checksum.
const VERSION_CHECKSUM: u32 = 5;

/// A key with its value. Collections have at least one element.
#[derive(Debug)]
pub struct Record {
    /// The database, below [`DATABASES`].
    pub db: u8,
    /// The key.
    pub key: Vec<u8>,
    /// The moment (ms since 1970) at which the key ceases to exist; it may be past.
    pub deadline: Option<u64>,
    /// The value.
    pub value: RdbValue,
}

/// What a file held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The version of the format.
    pub version: u32,
    /// Keys.
    pub keys: u64,
    /// Keys that have a deadline.
    pub keys_with_deadline: u64,
    /// Collections without elements, which are passed over as Redis does.
    pub empty_keys: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// Reads a whole file and gives its keys to `visit`, in the order of the file.
///
/// # Errors
///
/// Whatever is wrong. What precedes it was visited: whoever must not load a part of a file calls
/// [`check`] first, as [`import`] does.
pub fn read(reader: impl Read, visit: &mut dyn FnMut(Record)) -> Result<Summary, RdbError> {
    let mut input = Input::new(reader, STRING_LEN_MAX as u64);
    let mut file = File { version: version(&mut input)?, ..File::default() };
    loop {
        let kind = input.u8()?;
        match kind {
            opcode::END => break,
            opcode::AUX => drop((input.string()?, input.string()?)),
            opcode::SIZES => _ = (input.len()?, input.len()?),
            opcode::DATABASE => file.db = input.len()?,
            opcode::IDLE => _ = input.len()?,
            opcode::FREQ => _ = input.u8()?,
            opcode::DEADLINE_MS => {
                file.deadline = Some(i64::from_le_bytes(input.array()?).max(0) as u64);
            }
            opcode::DEADLINE_S => {
                let seconds = i32::from_le_bytes(input.array()?).max(0) as u64;
                file.deadline = Some(seconds * 1000);
            }
            opcode::FUNCTION | opcode::FUNCTION_OLD => {
                return Err(file.unsupported(&input, "a library of functions", None));
            }
            opcode::MODULE_AUX => {
                return Err(file.unsupported(&input, "data of a module", None));
            }
            _ => file.key(&mut input, kind, visit)?,
        }
    }
    file.end(&mut input)
}

/// Reads a whole file and checks all of it.
///
/// # Errors
///
/// Whatever would keep the file from being imported.
pub fn check(reader: impl Read) -> Result<Summary, RdbError> {
    read(reader, &mut drop)
}

/// Loads a file into `store`, after all of it was checked. A key that is there is replaced.
///
/// # Errors
///
/// Whatever is wrong with the file; then nothing was loaded. Only if the file changed, or could
/// not be read any more, between the two readings can a part of it be in the store.
pub fn import(file: &mut (impl Read + Seek), store: &Store) -> Result<Summary, RdbError> {
    let start = file.stream_position()?;
    check(&mut *file)?;
    file.seek(SeekFrom::Start(start))?;
    read(file, &mut |record| {
        let key = store.key(&record.key);
        let value = match record.value {
            RdbValue::Str(ref string) => Value::Str(string),
            RdbValue::Object(object) => Value::Object(object),
        };
        store.lock_one(key.shard()).put(record.db, &key, value, record.deadline);
    })
}

/// Reads the first nine bytes.
fn version<R: Read>(input: &mut Input<R>) -> Result<u32, RdbError> {
    let start = input.array::<9>().map_err(|error| match error {
        RdbError::Damaged { .. } => RdbError::NotRdb,
        other => other,
    })?;
    let digits = start.strip_prefix(b"REDIS").ok_or(RdbError::NotRdb)?;
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
    let version = text.and_then(|text| text.parse().ok()).ok_or(RdbError::NotRdb)?;
    if (1..=VERSION_MAX).contains(&version) { Ok(version) } else { Err(RdbError::Version(version)) }
}

/// How far a file was read.
#[derive(Default)]
struct File {
    version: u32,
    db: u64,
    /// The deadline of the key that follows.
    deadline: Option<u64>,
    summary: Summary,
}

impl File {
    fn unsupported<R: Read>(
        &self,
        input: &Input<R>,
        what: &'static str,
        key: Option<Vec<u8>>,
    ) -> RdbError {
        RdbError::Unsupported { what, key, db: self.db, offset: input.offset() }
    }

    /// Reads a key and its value, of type `kind`.
    fn key<R: Read>(
        &mut self,
        input: &mut Input<R>,
        kind: u8,
        visit: &mut dyn FnMut(Record),
    ) -> Result<(), RdbError> {
        let what = value::unsupported(kind);
        if what.is_none() && !value::is_known(kind) {
            return Err(input.damaged("an unknown type of value"));
        }
        let key = input.string()?;
        if let Some(what) = what {
            return Err(self.unsupported(input, what, Some(key)));
        }
        let db = u8::try_from(self.db).ok().filter(|db| usize::from(*db) < DATABASES);
        let db = db.ok_or(self.unsupported(input, "a database that is not among 0 to 15", None))?;
        let value = value::read(input, kind)?;
        let deadline = self.deadline.take();
        if matches!(&value, RdbValue::Object(object) if object.is_empty()) {
            self.summary.empty_keys += 1;
            return Ok(());
        }
        self.summary.keys += 1;
        self.summary.keys_with_deadline += u64::from(deadline.is_some());
        visit(Record { db, key, deadline, value });
        Ok(())
    }

    /// Checks what follows the last key.
    fn end<R: Read>(self, input: &mut Input<R>) -> Result<Summary, RdbError> {
        if self.version >= VERSION_CHECKSUM {
            let checksum = input.checksum();
            let told = u64::from_le_bytes(input.array()?);
            // 0 where Redis was told to do without (`rdbchecksum no`).
            if told != 0 && told != checksum {
                return Err(input.damaged("the checksum is wrong"));
            }
        }
        if !input.is_at_end()? {
            return Err(input.damaged("bytes behind the end"));
        }
        Ok(Summary { version: self.version, bytes: input.offset(), ..self.summary })
    }
}
