//! What nodes say to each other, as bytes: framing, handshake, messages.
//!
//! ```text
//!   handshake --> frames of parts --> messages of two streams --> PeerMessage
//! ```
//!
//! | file | what it knows |
//! |---|---|
//! | [`handshake`] | who is at the other end, before anything else is looked at |
//! | [`frame`] | parts with a length and a checksum; messages put together from them |
//! | [`message`] | what a message is: consensus, control, requests, replies |
//! | [`raft`] | messages of the consensus, every field |
//! | [`beat`] | heartbeats of groups, many in one message |
//!
//! Invariants: bytes come in and go out as arguments, there is no socket in here; what was
//! announced takes no memory before it arrives; nothing that a peer sent reaches the parser of the
//! consensus library. The formats are drawn in `docs/formats.md`.

pub mod beat;
pub mod frame;
pub mod handshake;
pub mod message;
pub mod raft;

/// Bytes that are not what they must be: the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "what a peer sent cannot be read: {}", self.0)
    }
}

impl std::error::Error for Malformed {}
