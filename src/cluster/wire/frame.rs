//! Parts with a length and a checksum, and messages put together from them.
//!
//! ```text
//!   length u32 | crc32c u32 | number u64 | flags u8 | part
//! ```
//!
//! `length` counts the bytes of the part; the checksum is taken over everything behind it; `number`
//! counts the parts of a connection from 0, so that none is missing, doubled or out of order.
//! Flags: bit 0, the last part of its message; bit 1, the stream it belongs to.
//!
//! A connection has two streams. What is urgent does not wait behind a long message of the other
//! one, only behind a part of it.
//!
//! Invariant: a message that is announced takes no memory before its bytes arrive, and is refused
//! when it grows beyond [`PEER_MESSAGE_BYTES_MAX`].

use super::Malformed;
use crate::limits::{PEER_MESSAGE_BYTES_MAX, PEER_PART_BYTES_MAX};
use std::collections::VecDeque;

/// Bytes in front of a part.
pub const FRAME_HEADER: usize = 4 + 4 + 8 + 1;

const LAST: u8 = 1;
const BULK: u8 = 2;

/// How long a message may wait behind others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Goes in front of all that is bulk.
    Urgent,
    /// Goes when nothing urgent waits.
    Bulk,
}

/// Messages on their way out of a connection.
#[derive(Debug, Default)]
pub struct Outgoing {
    number: u64,
    urgent: VecDeque<Vec<u8>>,
    bulk: VecDeque<Vec<u8>>,
    /// Bytes of the first bulk message that are framed already.
    bulk_sent: usize,
    bytes: usize,
}

impl Outgoing {
    /// Queues a message.
    pub fn push(&mut self, stream: Stream, message: Vec<u8>) {
        self.bytes += message.len();
        match stream {
            Stream::Urgent => self.urgent.push_back(message),
            Stream::Bulk => self.bulk.push_back(message),
        }
    }

    /// Bytes of messages that are not framed yet.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True when nothing waits to be framed.
    pub fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.bulk.is_empty()
    }

    /// Frames what is next: a whole urgent message, or one part of a bulk one. False if there is
    /// nothing.
    pub fn frame_next(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some(message) = self.urgent.pop_front() {
            self.bytes -= message.len();
            let mut at = 0;
            loop {
                at += self.frame(out, &message[at..], 0);
                if at == message.len() {
                    return true;
                }
            }
        }
        let Some(message) = self.bulk.pop_front() else { return false };
        let sent = self.frame(out, &message[self.bulk_sent..], BULK);
        self.bytes -= sent;
        self.bulk_sent += sent;
        if self.bulk_sent < message.len() {
            self.bulk.push_front(message);
        } else {
            self.bulk_sent = 0;
        }
        true
    }

    /// Frames one part of `rest`; returns its bytes.
    fn frame(&mut self, out: &mut Vec<u8>, rest: &[u8], stream: u8) -> usize {
        let part = &rest[..rest.len().min(PEER_PART_BYTES_MAX)];
        let flags = stream | if part.len() == rest.len() { LAST } else { 0 };
        let crc = checksum(self.number, flags, part);
        out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.push(flags);
        out.extend_from_slice(part);
        self.number += 1;
        part.len()
    }
}

fn checksum(number: u64, flags: u8, part: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&number.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &[flags]), part)
}

/// Messages put together from what arrives.
#[derive(Debug, Default)]
pub struct Incoming {
    buf: Vec<u8>,
    at: usize,
    number: u64,
    urgent: Vec<u8>,
    bulk: Vec<u8>,
}

impl Incoming {
    /// Bytes that arrived.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.at > 0 && self.at == self.buf.len() {
            self.buf.clear();
            self.at = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// Parts that came whole so far. Bytes alone show little: where the length of a part was
    /// damaged, they are taken for the rest of it.
    pub fn parts(&self) -> u64 {
        self.number
    }

    /// The next whole message; `None` until more bytes arrive. After an error there is no next one.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        loop {
            let Some((flags, len)) = self.check_part()? else {
                self.buf.drain(..self.at);
                self.at = 0;
                return Ok(None);
            };
            let message = if flags & BULK == 0 { &mut self.urgent } else { &mut self.bulk };
            if message.len() + len > PEER_MESSAGE_BYTES_MAX {
                return Err(Malformed("a message is too long"));
            }
            let from = self.at + FRAME_HEADER;
            message.extend_from_slice(&self.buf[from..from + len]);
            self.at = from + len;
            self.number += 1;
            if flags & LAST != 0 {
                return Ok(Some(std::mem::take(message)));
            }
        }
    }

    /// Flags and length of the part at hand, if it is whole.
    fn check_part(&self) -> Result<Option<(u8, usize)>, Malformed> {
        let bytes = &self.buf[self.at..];
        let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER>() else {
            return Ok(None);
        };
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| header[at + i]));
        let len = u32_at(0) as usize;
        if len > PEER_PART_BYTES_MAX {
            return Err(Malformed("a part is too long"));
        }
        let number = u64::from(u32_at(8)) | u64::from(u32_at(12)) << 32;
        let flags = header[16];
        let Some(part) = rest.get(..len) else { return Ok(None) };
        if number != self.number || flags & !(LAST | BULK) != 0 {
            return Err(Malformed("a part is not the one that comes next"));
        }
        if checksum(number, flags, part) != u32_at(4) {
            return Err(Malformed("the checksum of a part is wrong"));
        }
        Ok(Some((flags, len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(messages: &[(Stream, Vec<u8>)]) -> Vec<u8> {
        let mut outgoing = Outgoing::default();
        messages.iter().for_each(|(stream, message)| outgoing.push(*stream, message.clone()));
        let mut out = Vec::new();
        while outgoing.frame_next(&mut out) {}
        assert_eq!(outgoing.bytes(), 0);
        assert!(outgoing.is_empty());
        out
    }

    fn all(incoming: &mut Incoming) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| incoming.next_message().unwrap()).collect()
    }

    #[test]
    fn messages_come_back_however_the_bytes_are_cut() {
        let long = vec![3; PEER_PART_BYTES_MAX * 2 + 5];
        let messages =
            [vec![1; 10], vec![], long].map(|message| (Stream::Urgent, message)).to_vec();
        let bytes = framed(&messages);
        for step in [1, 7, 1000, PEER_PART_BYTES_MAX + 1, bytes.len()] {
            let mut incoming = Incoming::default();
            let mut got = Vec::new();
            for piece in bytes.chunks(step) {
                incoming.receive(piece);
                got.extend(all(&mut incoming));
            }
            assert!(got.iter().eq(messages.iter().map(|(_, message)| message)), "step {step}");
        }
    }

    #[test]
    fn what_is_urgent_overtakes_what_is_long() {
        let mut outgoing = Outgoing::default();
        outgoing.push(Stream::Bulk, vec![1; PEER_PART_BYTES_MAX * 3]);
        let mut out = Vec::new();
        assert!(outgoing.frame_next(&mut out));
        outgoing.push(Stream::Urgent, vec![2; 9]);
        while outgoing.frame_next(&mut out) {}
        let mut incoming = Incoming::default();
        incoming.receive(&out);
        assert_eq!(all(&mut incoming), [vec![2; 9], vec![1; PEER_PART_BYTES_MAX * 3]]);
    }

    #[test]
    fn every_flipped_bit_is_refused_or_waits_for_more() {
        let bytes = framed(&[(Stream::Urgent, b"hello".to_vec()), (Stream::Bulk, vec![9; 20])]);
        for at in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            let mut incoming = Incoming::default();
            incoming.receive(&damaged);
            let first = incoming.next_message();
            let whole = first.is_ok_and(|message| message.is_some());
            let second = incoming.next_message();
            assert!(!(whole && matches!(second, Ok(Some(_)))), "bit {at} went unnoticed");
        }
    }

    #[test]
    fn bytes_behind_a_damaged_length_are_no_parts() {
        let mut bytes = framed(&[(Stream::Urgent, vec![1])]);
        bytes[1] ^= 1;
        let mut incoming = Incoming::default();
        for _ in 0..10 {
            incoming.receive(&bytes);
            assert_eq!(incoming.next_message(), Ok(None));
            assert_eq!(incoming.parts(), 0);
        }
    }

    #[test]
    fn a_part_that_was_left_out_is_noticed() {
        let first = framed(&[(Stream::Urgent, vec![1])]).len();
        let bytes = framed(&[(Stream::Urgent, vec![1]), (Stream::Urgent, vec![2])]);
        let mut incoming = Incoming::default();
        incoming.receive(&bytes[first..]);
        assert!(incoming.next_message().is_err());
    }

    #[test]
    fn an_announced_length_takes_no_memory_and_is_bounded() {
        let mut incoming = Incoming::default();
        incoming.receive(&[0xff; FRAME_HEADER]);
        assert!(incoming.next_message().is_err());
        let mut outgoing = Outgoing::default();
        outgoing.push(Stream::Bulk, vec![0; PEER_PART_BYTES_MAX * 2]);
        let mut incoming = Incoming { bulk: vec![0; PEER_MESSAGE_BYTES_MAX], ..Default::default() };
        let mut out = Vec::new();
        outgoing.frame_next(&mut out);
        incoming.receive(&out);
        assert!(incoming.next_message().is_err());
    }
}
