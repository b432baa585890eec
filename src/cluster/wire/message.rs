//! What nodes send each other, as bytes.
//!
//! ```text
//!   1 consensus   group u16 | message of the consensus
//!   2 control     bytes, which the core makes and reads
//!   3 requests    id u64 | group u16 | protocol u8 | count | count x (writes u8, request)
//!   4 replies     id u64 | count | count x (end u8: 0 replied, 1 not executed, 2 uncertain; reply)
//!   5 heartbeat
//!   6 beats       count | count x heartbeat of a group
//! ```
//!
//! Requests that were sent once are never sent again if they write (C18). Ids are of the sender's
//! choice; a reply to an id that is not known any more is dropped.

use super::Malformed;
use super::beat::{Beat, put_beats, take_beats};
use super::raft::{put_message, take_message};
use crate::cluster::core::Message as Raft;
use crate::cluster::core::log::codec;
use crate::limits::PEER_REQUESTS_MAX;
use crate::util::wire::{Source, put_string, put_varint};

/// What one node tells another.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Of the consensus of one group.
    Raft {
        /// The group.
        group: u16,
        /// What its replicas say.
        message: Raft,
    },
    /// Of the node as a whole.
    Control(Vec<u8>),
    /// Requests of one connection for one group, in order.
    Requests(Requests),
    /// What became of them.
    Replies(Replies),
    /// Nothing but that the node is there.
    Heartbeat,
    /// Heartbeats of groups, and answers to such.
    Beats(Vec<Beat>),
}

/// Requests of one connection for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    /// Named again in the replies.
    pub id: u64,
    /// The group.
    pub group: u16,
    /// 2 or 3: in which protocol replies are written.
    pub protocol: u8,
    /// Whether each writes, and its bytes.
    pub items: Vec<(bool, Vec<u8>)>,
}

/// What became of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replies {
    /// The requests'.
    pub id: u64,
    /// One for each request.
    pub items: Vec<End>,
}

/// The end of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was executed; the reply.
    Reply(Vec<u8>),
    /// It was not executed, and never will be.
    Refused,
    /// It may or may not have been executed.
    Uncertain,
}

impl Message {
    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Message::Raft { group, message } => {
                out.push(1);
                out.extend_from_slice(&group.to_le_bytes());
                put_message(&mut out, message);
            }
            Message::Control(bytes) => {
                out.push(2);
                out.extend_from_slice(bytes);
            }
            Message::Requests(requests) => requests.put(&mut out),
            Message::Replies(replies) => replies.put(&mut out),
            Message::Heartbeat => out.push(5),
            Message::Beats(beats) => {
                out.push(6);
                put_beats(&mut out, beats);
            }
        }
        out
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
        let mut source = Source::new(bytes);
        let message = match source.u8() {
            Some(1) => raft(&mut source),
            Some(2) => {
                let rest = source.rest().len();
                source.take(rest).map(|bytes| Message::Control(bytes.to_vec()))
            }
            Some(3) => Requests::take(&mut source).map(Message::Requests),
            Some(4) => Replies::take(&mut source).map(Message::Replies),
            Some(5) => Some(Message::Heartbeat),
            Some(6) => take_beats(&mut source).map(Message::Beats),
            _ => return Err(Malformed("a message of an unknown kind")),
        };
        message.filter(|_| source.is_empty()).ok_or(Malformed("a message is not whole"))
    }
}

fn raft(source: &mut Source<'_>) -> Option<Message> {
    let group = source.u16()?;
    Some(Message::Raft { group, message: take_message(source)? })
}

impl Requests {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(3);
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.group.to_le_bytes());
        out.push(self.protocol);
        put_varint(out, self.items.len() as u64);
        for (writes, bytes) in &self.items {
            out.push(u8::from(*writes));
            put_string(out, bytes);
        }
    }

    fn take(source: &mut Source<'_>) -> Option<Requests> {
        let (id, group) = (source.u64()?, source.u16()?);
        let protocol = source.u8().filter(|protocol| [2, 3].contains(protocol))?;
        let item = |source: &mut Source<'_>| {
            let writes = source.u8().filter(|writes| *writes <= 1)? == 1;
            Some((writes, source.string()?.to_vec()))
        };
        Some(Requests { id, group, protocol, items: codec::list(source, PEER_REQUESTS_MAX, item)? })
    }
}

impl Replies {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(4);
        out.extend_from_slice(&self.id.to_le_bytes());
        put_varint(out, self.items.len() as u64);
        for end in &self.items {
            match end {
                End::Reply(bytes) => {
                    out.push(0);
                    put_string(out, bytes);
                }
                End::Refused => out.push(1),
                End::Uncertain => out.push(2),
            }
        }
    }

    fn take(source: &mut Source<'_>) -> Option<Replies> {
        let id = source.u64()?;
        let end = |source: &mut Source<'_>| match source.u8()? {
            0 => Some(End::Reply(source.string()?.to_vec())),
            1 => Some(End::Refused),
            2 => Some(End::Uncertain),
            _ => None,
        };
        Some(Replies { id, items: codec::list(source, PEER_REQUESTS_MAX, end)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(is_answer: bool, commit: u64) -> Beat {
        Beat { group: 64, is_answer, to: 300, from: 2, term: 9, commit }
    }

    #[test]
    fn messages_come_back_and_every_cut_of_them_is_refused() {
        let items = vec![(true, b"set".to_vec()), (false, vec![])];
        let ends = vec![End::Reply(b"+OK\r\n".to_vec()), End::Refused, End::Uncertain];
        let messages = [
            Message::Raft { group: 64, message: Raft { term: 9, ..Raft::default() } },
            Message::Requests(Requests { id: u64::MAX, group: 3, protocol: 2, items }),
            Message::Replies(Replies { id: 7, items: ends }),
            Message::Heartbeat,
            Message::Beats(vec![beat(false, 1 << 40), beat(true, 3)]),
        ];
        for message in messages {
            let bytes = message.encode();
            assert_eq!(Message::decode(&bytes), Ok(message));
            for end in 0..bytes.len() {
                assert!(Message::decode(&bytes[..end]).is_err(), "cut at {end}");
            }
            assert!(Message::decode(&[bytes, vec![0]].concat()).is_err());
        }
        let control = Message::Control(vec![1, 2, 3]);
        assert_eq!(Message::decode(&control.encode()), Ok(control));
        assert!(Message::decode(&[9]).is_err());
    }
}
