//! What DUMP answers and RESTORE takes: one value, a version and a checksum.

use super::input::Input;
use super::value::{self, RdbValue, RdbValueRef};
use super::{RdbError, VERSION};
use crate::util::crc64::crc64;

/// Bytes of version and checksum.
const FOOTER: usize = 10;

/// Why a payload was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// The version is newer than 10, or the checksum is wrong.
    Footer,
    /// A value that dse does not have.
    Unsupported(&'static str),
    /// A string that is longer than allowed.
    TooLong,
    /// Not what DUMP writes.
    Damaged,
}

/// The payload of a value.
pub fn encode_payload(value: RdbValueRef<'_>, compress: bool) -> Vec<u8> {
    let mut payload = vec![value.kind()];
    // Writing to memory does not fail.
    let _ = value.write(compress, &mut payload, &mut |_| Ok(()));
    payload.extend_from_slice(&VERSION.to_le_bytes());
    let checksum = crc64(0, &payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

/// The value of a payload, a collection of at least one element; strings and elements longer than
/// `string_len_max` are refused.
///
/// # Errors
///
/// Anything that neither Redis nor [`encode_payload`] writes.
pub fn decode_payload(payload: &[u8], string_len_max: u64) -> Result<RdbValue, PayloadError> {
    let body = verified(payload).ok_or(PayloadError::Footer)?;
    let (&kind, rest) = body.split_first().ok_or(PayloadError::Damaged)?;
    if let Some(what) = value::unsupported(kind) {
        return Err(PayloadError::Unsupported(what));
    }
    let mut input = Input::new(rest, string_len_max);
    let value = value::read(&mut input, kind).map_err(|error| match error {
        RdbError::TooLong { .. } => PayloadError::TooLong,
        _ => PayloadError::Damaged,
    })?;
    let is_whole = input.offset() == rest.len() as u64;
    let is_empty = matches!(&value, RdbValue::Object(object) if object.is_empty());
    if is_whole && !is_empty { Ok(value) } else { Err(PayloadError::Damaged) }
}

/// What is in front of a footer of a known version with the right checksum.
fn verified(payload: &[u8]) -> Option<&[u8]> {
    let (body, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER)?)?;
    let (version, checksum) = footer.split_first_chunk::<2>()?;
    let is_right = u16::from_le_bytes(*version) <= VERSION
        && crc64(0, &payload[..body.len() + 2]).to_le_bytes() == checksum;
    is_right.then_some(body)
}
