//! Who is at the other end, proved by a secret that all nodes of a cluster know.
//!
//! ```text
//!   caller   greeting --------------------------------------->   called
//!            <--- greeting, HMAC(secret, "called", both) -----
//!            HMAC(secret, "caller", both) ------------------->
//!            <=================== frames ====================>
//!
//!   greeting   magic 8 | length u16 | oldest u8 | newest version u8 | nonce 32 | disk u64
//!              | cluster u64 | name: length u8, bytes | whom it calls: length u8, bytes
//! ```
//!
//! The proofs cover both greetings whole, so that nothing of them can be exchanged on the way, and
//! a fresh nonce of each end, so that none can be played again. Until the other end has proved that
//! it knows the secret, its bytes are counted and hashed, and not looked into.
//!
//! Invariants: at most [`GREETING_BYTES_MAX`] and a proof are taken from a stranger; a proof is
//! compared in constant time; the proof of one end is of no use to the other. Deliberately absent:
//! how long a stranger may take (the driver's), and secrecy: who can change bytes on the way after
//! the handshake can change what nodes say.

use super::Malformed;
use crate::limits::CLUSTER_NAME_BYTES_MAX;
use crate::util::wire::Source;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Versions of the wire that this program speaks.
pub const VERSIONS: (u8, u8) = (2, 2);
/// Bytes of a greeting at most.
pub const GREETING_BYTES_MAX: usize = 1024;

const MAGIC: &[u8; 8] = b"dse-peer";
const PROOF_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + 2;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Names its cluster; 0 while it belongs to none.
    pub cluster: u64,
    /// Names its disk: drawn when its directory was begun.
    pub disk: u64,
    /// Its name.
    pub name: String,
    /// The name of the node that it calls; empty in the greeting of who is called.
    pub calls: String,
    /// The oldest and the newest version that it speaks.
    pub versions: (u8, u8),
}

/// Who the other end is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it said of itself.
    pub greeting: Greeting,
    /// The version that both speak.
    pub version: u8,
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The bytes are none of a handshake.
    Malformed(Malformed),
    /// The other end does not know the secret.
    Secret,
    /// No version is spoken at both ends; what the other end speaks.
    Version(u8, u8),
    /// It calls another node than this one; by this name.
    WrongName(String),
    /// It bears this node's own name.
    OwnName(String),
    /// It belongs to another cluster.
    OtherCluster(u64),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Malformed(why) => write!(f, "{why}"),
            Refused::Secret => f.write_str(
                "the other end does not know the secret of this cluster; give all nodes the same \
                 'cluster-secret'",
            ),
            Refused::Version(oldest, newest) => write!(
                f,
                "the other end speaks the versions {oldest} to {newest} of the wire, this node {} \
                 to {}; bring all nodes to versions of the program that overlap",
                VERSIONS.0, VERSIONS.1
            ),
            Refused::WrongName(name) => {
                write!(f, "the node at that address is not '{name}'; correct the list of peers")
            }
            Refused::OwnName(name) => write!(
                f,
                "another node is called '{name}' as this one is; give each node a name of its own"
            ),
            Refused::OtherCluster(id) => write!(
                f,
                "the other end belongs to another cluster ({id:016x}); one of the data directories \
                 is not of this cluster"
            ),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Malformed> for Refused {
    fn from(why: Malformed) -> Refused {
        Refused::Malformed(why)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Caller,
    Called,
}

/// One end of a handshake.
pub struct Handshake {
    side: Side,
    secret: Vec<u8>,
    me: Greeting,
    /// This end's greeting as it is sent.
    sent: Vec<u8>,
    received: Vec<u8>,
}

/// How far a handshake is.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes must come.
    More,
    /// The other end has proved who it is. What came behind is the beginning of its frames.
    Done(Box<Peer>, Vec<u8>),
}

impl Handshake {
    /// Calls another node: `me.calls` names it. The bytes to send first go to `out`.
    pub fn call(me: Greeting, secret: &[u8], nonce: [u8; 32], out: &mut Vec<u8>) -> Handshake {
        let handshake = Handshake::new(Side::Caller, me, secret, nonce);
        out.extend_from_slice(&handshake.sent);
        handshake
    }

    /// Waits to be greeted.
    pub fn answer(me: Greeting, secret: &[u8], nonce: [u8; 32]) -> Handshake {
        Handshake::new(Side::Called, me, secret, nonce)
    }

    fn new(side: Side, me: Greeting, secret: &[u8], nonce: [u8; 32]) -> Handshake {
        let sent = encode(&me, &nonce);
        Handshake { side, secret: secret.to_vec(), me, sent, received: Vec::new() }
    }

    /// Takes bytes that arrived, and adds to `out` what is to be sent.
    pub fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Step, Refused> {
        let had_greeting = self.greeting_len()?.is_some();
        self.received.extend_from_slice(bytes);
        let Some(len) = self.greeting_len()? else { return Ok(Step::More) };
        if self.side == Side::Called && !had_greeting {
            out.extend_from_slice(&self.sent);
            out.extend_from_slice(&self.proof(Side::Called, len).finalize().into_bytes());
        }
        let Some(proof) = self.received.get(len..len + PROOF_BYTES) else {
            return Ok(Step::More);
        };
        let other = if self.side == Side::Caller { Side::Called } else { Side::Caller };
        self.proof(other, len).verify_slice(proof).map_err(|_| Refused::Secret)?;
        let greeting = decode(&self.received[..len]).ok_or(Malformed("a greeting"))?;
        if self.side == Side::Caller {
            out.extend_from_slice(&self.proof(Side::Caller, len).finalize().into_bytes());
        }
        let peer = self.judge(greeting)?;
        Ok(Step::Done(Box::new(peer), self.received.split_off(len + PROOF_BYTES)))
    }

    /// The length of the other end's greeting, once that much is known and there.
    fn greeting_len(&self) -> Result<Option<usize>, Malformed> {
        let seen = self.received.len().min(MAGIC.len());
        if self.received[..seen] != MAGIC[..seen] {
            return Err(Malformed("no greeting of a node"));
        }
        let Some(header) = self.received.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let rest = u16::from_le_bytes([header[8], header[9]]) as usize;
        if HEADER_BYTES + rest > GREETING_BYTES_MAX {
            return Err(Malformed("a greeting is too long"));
        }
        let len = HEADER_BYTES + rest;
        Ok((self.received.len() >= len).then_some(len))
    }

    fn proof(&self, by: Side, len: usize) -> Hmac<Sha256> {
        let received = &self.received[..len];
        let (caller, called) = match self.side {
            Side::Caller => (&self.sent[..], received),
            Side::Called => (received, &self.sent[..]),
        };
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.secret).expect("a key may have any length");
        mac.update(if by == Side::Caller { b"dse caller" } else { b"dse called" });
        mac.update(caller);
        mac.update(called);
        mac
    }

    fn judge(&self, greeting: Greeting) -> Result<Peer, Refused> {
        let (oldest, newest) = greeting.versions;
        let version = newest.min(self.me.versions.1);
        if version < oldest.max(self.me.versions.0) {
            return Err(Refused::Version(oldest, newest));
        }
        if greeting.name == self.me.name {
            return Err(Refused::OwnName(greeting.name));
        }
        match self.side {
            Side::Caller if greeting.name != self.me.calls => {
                return Err(Refused::WrongName(self.me.calls.clone()));
            }
            Side::Called if greeting.calls != self.me.name => {
                return Err(Refused::WrongName(greeting.calls));
            }
            _ => {}
        }
        let (theirs, ours) = (greeting.cluster, self.me.cluster);
        if theirs != 0 && ours != 0 && theirs != ours {
            return Err(Refused::OtherCluster(theirs));
        }
        Ok(Peer { greeting, version })
    }
}

fn encode(greeting: &Greeting, nonce: &[u8; 32]) -> Vec<u8> {
    let mut rest = vec![greeting.versions.0, greeting.versions.1];
    rest.extend_from_slice(nonce);
    rest.extend_from_slice(&greeting.disk.to_le_bytes());
    rest.extend_from_slice(&greeting.cluster.to_le_bytes());
    for name in [&greeting.name, &greeting.calls] {
        assert!(name.len() <= CLUSTER_NAME_BYTES_MAX, "names are checked before");
        rest.push(name.len() as u8);
        rest.extend_from_slice(name.as_bytes());
    }
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&(rest.len() as u16).to_le_bytes());
    out.extend_from_slice(&rest);
    out
}

fn decode(bytes: &[u8]) -> Option<Greeting> {
    let mut source = Source::new(bytes.get(HEADER_BYTES..)?);
    let versions = (source.u8()?, source.u8()?);
    source.array::<32>()?;
    let (disk, cluster) = (source.u64()?, source.u64()?);
    let mut name = || {
        let len = source.u8().filter(|len| usize::from(*len) <= CLUSTER_NAME_BYTES_MAX)?;
        String::from_utf8(source.take(len.into())?.to_vec()).ok()
    };
    let (name, calls) = (name()?, name()?);
    // What a later version adds behind is passed over.
    Some(Greeting { cluster, disk, name, calls, versions })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(name: &str, calls: &str) -> Greeting {
        let (name, calls) = (name.to_owned(), calls.to_owned());
        Greeting { cluster: 7, disk: name.len() as u64, name, calls, versions: VERSIONS }
    }

    struct Pair {
        caller: Handshake,
        called: Handshake,
        first: Vec<u8>,
    }

    fn pair(caller: Greeting, called: Greeting, secrets: [&[u8]; 2]) -> Pair {
        let mut first = Vec::new();
        let caller = Handshake::call(caller, secrets[0], [1; 32], &mut first);
        Pair { caller, called: Handshake::answer(called, secrets[1], [2; 32]), first }
    }

    fn fine() -> Pair {
        pair(greeting("one", "two"), greeting("two", ""), [b"s", b"s"])
    }

    /// What both ends find out, the caller first; `change` may meddle with the bytes on the way.
    fn run(
        mut pair: Pair,
        change: impl Fn(usize, &mut Vec<u8>),
    ) -> (Result<Step, Refused>, Result<Step, Refused>) {
        change(0, &mut pair.first);
        let mut second = Vec::new();
        if let Err(refused) = pair.called.receive(&pair.first, &mut second) {
            return (Ok(Step::More), Err(refused));
        }
        change(1, &mut second);
        let mut third = Vec::new();
        let caller = pair.caller.receive(&second, &mut third);
        change(2, &mut third);
        let called = pair.called.receive(&third, &mut Vec::new());
        (caller, called)
    }

    fn name_of(step: Result<Step, Refused>) -> String {
        match step {
            Ok(Step::Done(peer, rest)) => {
                assert!(rest.is_empty());
                assert_eq!(peer.version, VERSIONS.1);
                peer.greeting.name
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_ends_learn_who_the_other_is() {
        let (caller, called) = run(fine(), |_, _| {});
        assert_eq!((name_of(caller), name_of(called)), ("two".into(), "one".into()));
    }

    #[test]
    fn bytes_may_come_one_by_one_and_frames_right_behind() {
        let mut pair = fine();
        let mut second = Vec::new();
        for byte in &pair.first {
            assert_eq!(pair.called.receive(&[*byte], &mut second), Ok(Step::More));
        }
        let (mut third, mut done) = (Vec::new(), None);
        second.extend_from_slice(b"frames");
        for byte in &second {
            match &mut done {
                None => match pair.caller.receive(&[*byte], &mut third).unwrap() {
                    Step::More => {}
                    Step::Done(_, rest) => done = Some(rest),
                },
                Some(rest) => rest.push(*byte),
            }
        }
        assert_eq!(done.as_deref(), Some(&b"frames"[..]));
        third.extend_from_slice(b"more");
        let Ok(Step::Done(_, rest)) = pair.called.receive(&third, &mut second) else {
            panic!("refused")
        };
        assert_eq!(rest, b"more");
    }

    #[test]
    fn who_does_not_know_the_secret_is_refused_at_either_end() {
        let of = || pair(greeting("one", "two"), greeting("two", ""), [b"s", b"t"]);
        let (caller, called) = run(of(), |_, _| {});
        assert_eq!(caller, Err(Refused::Secret));
        assert_eq!(called, Ok(Step::More), "nothing is proved to who proves nothing");
        // A caller that sends back the proof it was given gets nowhere.
        let mut pair = fine();
        let mut second = Vec::new();
        pair.called.receive(&pair.first.clone(), &mut second).unwrap();
        let proof = second.split_off(second.len() - PROOF_BYTES);
        assert_eq!(pair.called.receive(&proof, &mut second), Err(Refused::Secret));
    }

    #[test]
    fn nothing_can_be_changed_on_the_way() {
        let lens = [fine().first.len(), 1, PROOF_BYTES];
        for (message, len) in lens.into_iter().enumerate() {
            for at in 0..len.max(60) {
                let (caller, called) = run(fine(), |number, bytes| {
                    if number == message
                        && let Some(byte) = bytes.get_mut(at)
                    {
                        *byte ^= 1;
                    }
                });
                let both =
                    matches!(caller, Ok(Step::Done(..))) && matches!(called, Ok(Step::Done(..)));
                assert!(!both || at >= len, "byte {at} of message {message}");
            }
        }
    }

    #[test]
    fn names_clusters_and_versions_are_judged() {
        let outcome = |caller: Greeting, called: Greeting| {
            run(pair(caller, called, [b"s", b"s"]), |_, _| {}).0.err()
        };
        let two = || greeting("two", "");
        assert_eq!(outcome(greeting("one", "two"), two()), None);
        let other = Refused::WrongName("six".into());
        assert_eq!(outcome(greeting("one", "six"), two()), Some(other));
        let own = Refused::OwnName("two".into());
        assert_eq!(outcome(greeting("two", "two"), two()), Some(own));
        let of = |cluster| Greeting { cluster, ..two() };
        assert_eq!(outcome(greeting("one", "two"), of(8)), Some(Refused::OtherCluster(8)));
        assert_eq!(outcome(greeting("one", "two"), of(0)), None, "it is in none yet");
        let newer = Greeting { versions: (3, 4), ..two() };
        assert_eq!(outcome(greeting("one", "two"), newer), Some(Refused::Version(3, 4)));
        let both = Greeting { versions: (2, 4), ..two() };
        assert_eq!(outcome(greeting("one", "two"), both), None);
    }

    #[test]
    fn a_stranger_is_bounded() {
        let mut called = fine().called;
        let wrong = called.receive(b"GET / HTTP/1.1", &mut Vec::new());
        assert!(matches!(wrong, Err(Refused::Malformed(_))));
        let mut called = fine().called;
        let mut long = MAGIC.to_vec();
        long.extend_from_slice(&u16::MAX.to_le_bytes());
        assert!(matches!(called.receive(&long, &mut Vec::new()), Err(Refused::Malformed(_))));
    }
}
