//! Requests for several groups, and one reply made of many.
//!
//! MGET, MSET, DEL, EXISTS, UNLINK, TOUCH, DBSIZE, FLUSHALL and FLUSHDB may concern many groups:
//! each gets the part that is its own, and the replies are put together. Such a request is not
//! atomic: others may see some of its parts before the rest.

use super::request::{self, Watched};
use crate::commands::table::{Command, flags};
use crate::limits::CLUSTER_GROUPS;
use crate::resp::{Args, Protocol};
use crate::util::crc16::hash_slot;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is asked of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which group.
    pub group: u16,
    /// It changes something, or might.
    pub is_write: bool,
    /// The request as bytes.
    pub bytes: Vec<u8>,
}

/// How a reply is made of those of the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Combine {
    /// There is one part, and its reply is the reply.
    Only,
    /// Numbers are added.
    Sum,
    /// All are alike.
    Same,
    /// Elements go where their keys stood: for each part, the places of its elements.
    Gather(Vec<Vec<usize>>),
    /// What WATCH saw of this slot is kept for EXEC.
    Watch(u16, WatchedSlots),
}

/// What a connection watches. The driver adds to it while the connection waits.
#[derive(Clone, Debug, Default)]
pub struct WatchedSlots(Arc<Mutex<Vec<Watched>>>);

impl WatchedSlots {
    /// What was seen so far.
    pub fn seen(&self) -> Vec<Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, watched: Watched) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
    }
}

impl PartialEq for WatchedSlots {
    fn eq(&self, other: &WatchedSlots) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for WatchedSlots {}

/// True for commands that are split over groups.
pub fn is_split(command: &Command) -> bool {
    matches!(
        command.name,
        "mget" | "mset" | "del" | "exists" | "unlink" | "touch" | "dbsize" | "flushall" | "flushdb"
    )
}

/// The parts of a request of a command that is split.
pub fn split(command: &Command, args: Args<'_>) -> (Combine, Vec<Part>) {
    let is_write = command.is(flags::WRITE);
    let whole = || request::one((0..args.len()).map(|at| args.get(at)));
    if command.keys.first == 0 {
        let part = |group| Part { group, is_write, bytes: whole() };
        let combine = if is_write { Combine::Same } else { Combine::Sum };
        return (combine, (0..CLUSTER_GROUPS as u16).map(part).collect());
    }
    let step = command.keys.step as usize;
    // In the order of the keys, so that a key that is named twice keeps its order.
    let mut groups: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for at in command.keys.positions(args.len()) {
        groups.entry(group_of(args.get(at))).or_default().push(at);
    }
    if groups.len() == 1 {
        let group = *groups.keys().next().unwrap_or(&0);
        return (Combine::Only, vec![Part { group, is_write, bytes: whole() }]);
    }
    let parts = groups.iter().map(|(&group, keys)| {
        let of_key = |&at: &usize| (at..at + step).map(|at| args.get(at));
        let words: Vec<&[u8]> =
            std::iter::once(args.get(0)).chain(keys.iter().flat_map(of_key)).collect();
        Part { group, is_write, bytes: request::one(words.into_iter()) }
    });
    let parts = parts.collect();
    let combine = match command.name {
        "mget" => Combine::Gather(
            groups.into_values().map(|keys| keys.into_iter().map(|at| at - 1).collect()).collect(),
        ),
        "mset" => Combine::Same,
        _ => Combine::Sum,
    };
    (combine, parts)
}

/// The group of a key.
pub fn group_of(key: &[u8]) -> u16 {
    hash_slot(key) / (crate::limits::HASH_SLOTS / CLUSTER_GROUPS) as u16
}

/// The reply made of those of the parts, in their order. The first error among them is the reply.
pub fn combine(combine: &Combine, protocol: Protocol, mut replies: Vec<Vec<u8>>) -> Vec<u8> {
    if let Some(at) = replies.iter().position(|reply| reply.first() == Some(&b'-')) {
        return replies.swap_remove(at);
    }
    match combine {
        Combine::Only | Combine::Same => replies.into_iter().next().unwrap_or_default(),
        Combine::Sum => {
            let numbers = replies.iter().filter_map(|reply| number(reply));
            let sum = numbers.fold(0, i64::saturating_add);
            format!(":{sum}\r\n").into_bytes()
        }
        Combine::Gather(places) => gather(places, protocol, &replies),
        Combine::Watch(slot, watched) => match replies.first().and_then(|reply| pair(reply)) {
            Some((index, deadline_ms)) => {
                watched.add(Watched { slot: *slot, index, deadline_ms });
                b"+OK\r\n".to_vec()
            }
            None => b"-ERR what is watched cannot be read\r\n".to_vec(),
        },
    }
}

/// The two numbers of a list of two.
fn pair(reply: &[u8]) -> Option<(u64, u64)> {
    let (first, second) = line(reply.strip_prefix(b"*2\r\n")?)?;
    Some((number(first)?.try_into().ok()?, number(second)?.try_into().ok()?))
}

fn number(reply: &[u8]) -> Option<i64> {
    std::str::from_utf8(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?).ok()?.parse().ok()
}

fn gather(places: &[Vec<usize>], protocol: Protocol, replies: &[Vec<u8>]) -> Vec<u8> {
    let count = places.iter().map(Vec::len).sum();
    let nil: &[u8] = if protocol == Protocol::Resp3 { b"_\r\n" } else { b"$-1\r\n" };
    let mut elements = vec![nil; count];
    for (places, reply) in places.iter().zip(replies) {
        let mut rest = line(reply).map_or(&[][..], |(_, rest)| rest);
        for &place in places {
            let Some((element, behind)) = element(rest) else { break };
            elements[place] = element;
            rest = behind;
        }
    }
    let mut out = format!("*{count}\r\n").into_bytes();
    elements.iter().for_each(|element| out.extend_from_slice(element));
    out
}

/// The first line and what follows it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memmem::find(bytes, b"\r\n")? + 2;
    Some(bytes.split_at(end))
}

/// The first bulk string or nil, and what follows it.
fn element(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, _) = line(bytes)?;
    let len = match head.strip_prefix(b"$") {
        Some(digits) => {
            std::str::from_utf8(digits.strip_suffix(b"\r\n")?).ok()?.parse::<i64>().ok()?
        }
        None => -1,
    };
    let whole = head.len() + usize::try_from(len).map_or(0, |len| len.saturating_add(2));
    bytes.split_at_checked(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::{LOOKUP, TABLE};
    use crate::resp::OwnedArgs;

    fn split_line(text: &str) -> (Combine, Vec<Part>) {
        let args: OwnedArgs = text.split(' ').map(str::as_bytes).collect();
        let row = LOOKUP.find(args.as_args().get(0)).unwrap();
        split(&TABLE[row], args.as_args())
    }

    fn words(part: &Part) -> Vec<String> {
        let request = request::read(&part.bytes).unwrap();
        request.commands[0].iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    }

    #[test]
    fn each_group_gets_its_keys_in_order() {
        // Slots 15495, 3300, 15495: groups 60, 12, 60.
        let (combine, parts) = split_line("mset a 1 b 2 a 3");
        assert_eq!(combine, Combine::Same);
        assert_eq!(parts.iter().map(|part| part.group).collect::<Vec<_>>(), [12, 60]);
        assert_eq!(words(&parts[1]), ["mset", "a", "1", "a", "3"]);
        assert!(parts.iter().all(|part| part.is_write));
        let (combine, parts) = split_line("exists a {a}x a");
        assert_eq!((combine, parts.len()), (Combine::Only, 1));
        let (combine, parts) = split_line("flushall");
        assert_eq!((combine, parts.len()), (Combine::Same, CLUSTER_GROUPS));
    }

    #[test]
    fn replies_are_put_together() {
        let two = Protocol::Resp2;
        let of = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        assert_eq!(combine(&Combine::Sum, two, of(&[":2\r\n", ":40\r\n"])), b":42\r\n");
        assert_eq!(combine(&Combine::Same, two, of(&["+OK\r\n", "+OK\r\n"])), b"+OK\r\n");
        let watch = Combine::Watch(5, WatchedSlots::default());
        assert_eq!(combine(&watch, two, of(&["*2\r\n:7\r\n:0\r\n"])), b"+OK\r\n");
        let Combine::Watch(_, slots) = watch else { panic!("it is one") };
        assert_eq!(slots.seen(), [Watched { slot: 5, index: 7, deadline_ms: 0 }]);
        let failed = of(&["+OK\r\n", "-TRYAGAIN x\r\n"]);
        assert_eq!(combine(&Combine::Same, two, failed), b"-TRYAGAIN x\r\n");
        let (gather, parts) = split_line("mget a b c");
        assert_eq!(parts.len(), 3);
        let order: Vec<String> = parts.iter().map(|part| words(part)[1].clone()).collect();
        let replies = order.iter().map(|key| match key.as_str() {
            "b" => b"*1\r\n$-1\r\n".to_vec(),
            key => format!("*1\r\n$3\r\n{key}\r\n\r\n").into_bytes(),
        });
        let reply = combine(&gather, two, replies.collect());
        assert_eq!(reply, b"*3\r\n$3\r\na\r\n\r\n$-1\r\n$3\r\nc\r\n\r\n");
    }
}
