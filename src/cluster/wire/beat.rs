//! Heartbeats of groups and the answers to them, as they are sent: many in one message.
//!
//! ```text
//!   count | count x (group u16 | answer u8 | to | from | term | commit)
//! ```
//!
//! Each group of a node has a heartbeat for each of its followers every 150 ms, whether
//! anything happens or not, so they are what an idle cluster sends. Those of a moment for one node
//! share a message. A heartbeat that also carries the context of a round of reads goes alone.
//!
//! Invariant: what is taken apart again is the message that was put in, in all its fields.

use crate::cluster::core::log::codec;
use crate::cluster::core::{Message, MessageType};
use crate::limits::PEER_BEATS_MAX;
use crate::util::wire::{Source, put_varint};

/// A heartbeat of a group, or an answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The group.
    pub group: u16,
    /// It answers one.
    pub is_answer: bool,
    /// The replica that it is for.
    pub to: u64,
    /// The replica that it is from.
    pub from: u64,
    /// The term of that.
    pub term: u64,
    /// The commit index, as far as the receiver has the log; of an answer, that of its sender.
    pub commit: u64,
}

impl Beat {
    /// The beat that a message is, if it is nothing else.
    pub fn of(group: u16, message: &Message) -> Option<Beat> {
        let is_answer = match message.get_msg_type() {
            MessageType::MsgHeartbeat => false,
            MessageType::MsgHeartbeatResponse => true,
            _ => return None,
        };
        if !message.context.is_empty() {
            return None;
        }
        let &Message { to, from, term, commit, .. } = message;
        let beat = Beat { group, is_answer, to, from, term, commit };
        (beat.message() == *message).then_some(beat)
    }

    /// The message that it is.
    pub fn message(&self) -> Message {
        let &Beat { to, from, term, commit, .. } = self;
        let mut message = Message { to, from, term, commit, ..Message::default() };
        message.set_msg_type(match self.is_answer {
            false => MessageType::MsgHeartbeat,
            true => MessageType::MsgHeartbeatResponse,
        });
        message
    }
}

/// Appends beats.
pub(super) fn put_beats(out: &mut Vec<u8>, beats: &[Beat]) {
    put_varint(out, beats.len() as u64);
    for beat in beats {
        out.extend_from_slice(&beat.group.to_le_bytes());
        out.push(u8::from(beat.is_answer));
        for number in [beat.to, beat.from, beat.term, beat.commit] {
            put_varint(out, number);
        }
    }
}

/// Takes beats; `None` if they are not whole.
pub(super) fn take_beats(source: &mut Source<'_>) -> Option<Vec<Beat>> {
    codec::list(source, PEER_BEATS_MAX, |source| {
        let group = source.u16()?;
        let is_answer = codec::flag(source)?;
        let (to, from) = (codec::number(source)?, codec::number(source)?);
        let (term, commit) = (codec::number(source)?, codec::number(source)?);
        Some(Beat { group, is_answer, to, from, term, commit })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::core::Entry;

    #[test]
    fn a_heartbeat_comes_back_as_the_message_that_it_was() {
        for kind in [MessageType::MsgHeartbeat, MessageType::MsgHeartbeatResponse] {
            let mut message = Message { to: 1, from: 2, term: 3, commit: 4, ..Message::default() };
            message.set_msg_type(kind);
            assert_eq!(Beat::of(9, &message).map(|beat| beat.message()), Some(message));
        }
    }

    #[test]
    fn what_says_more_than_a_beat_goes_alone() {
        let beat = Beat { group: 9, is_answer: true, to: 1, from: 2, term: 3, commit: 4 };
        let changes: [fn(&mut Message); 8] = [
            |message| message.set_msg_type(MessageType::MsgAppend),
            |message| message.context = vec![1].into(),
            |message| message.index = 1,
            |message| message.log_term = 1,
            |message| message.reject = true,
            |message| message.priority = 1,
            |message| message.request_snapshot = 1,
            |message| message.set_entries(vec![Entry::default()].into()),
        ];
        for change in changes {
            let mut message = beat.message();
            change(&mut message);
            assert_eq!(Beat::of(9, &message), None, "{message:?}");
        }
    }
}
