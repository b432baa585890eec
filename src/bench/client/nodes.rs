//! The nodes of a cluster, each with hash tags of the slots that it serves.

use super::answer::Answer;
use super::run::Node;
use super::target::{Place, Target};
use crate::bench::error::BenchError;
use crate::bench::load::template::{Tag, tag_table};
use crate::limits::HASH_SLOTS;
use std::collections::BTreeMap;

/// Asks `target` for the primaries of its cluster.
pub fn of_cluster(target: &Target) -> Result<Vec<Node>, BenchError> {
    let answer = target.open()?.demand(&["CLUSTER", "SLOTS"])?;
    let table = tag_table();
    let mut nodes: BTreeMap<(String, u16), Vec<Tag>> = BTreeMap::new();
    for range in answer.list() {
        let Some((first, last, host, port)) = read_range(range) else { continue };
        // An empty name stands for the host that was asked.
        let host = if host.is_empty() { host_of(target) } else { host };
        nodes.entry((host, port)).or_default().extend(&table[first..=last]);
    }
    if nodes.is_empty() {
        let reply = "its cluster serves no slots".to_owned();
        return Err(BenchError::Refused { address: target.address(), reply });
    }
    let node = |((host, port), tags): ((String, u16), Vec<Tag>)| {
        let place = Place::tcp(&host, port)?;
        Ok(Node { target: Target { place, ..target.clone() }, tags })
    };
    nodes.into_iter().map(node).collect()
}

fn host_of(target: &Target) -> String {
    match &target.place {
        Place::Tcp { host, .. } => host.clone(),
        Place::Unix(_) => "127.0.0.1".to_owned(),
    }
}

/// First and last slot, host and port of the primary.
fn read_range(range: &Answer) -> Option<(usize, usize, String, u16)> {
    let [first, last, primary, ..] = range.list() else { return None };
    let slot =
        |answer: &Answer| usize::try_from(answer.int()?).ok().filter(|slot| *slot < HASH_SLOTS);
    let [host, port, ..] = primary.list() else { return None };
    let (first, last) = (slot(first)?, slot(last)?);
    let host = host.text().unwrap_or_default();
    (first <= last).then_some((first, last, host, u16::try_from(port.int()?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_slots_is_understood_or_left_out() {
        let text = b"*3\r\n:0\r\n:5460\r\n*3\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n";
        let (answer, _) = Answer::read(text).expect("a reply").expect("it is whole");
        assert_eq!(read_range(&answer), Some((0, 5460, "127.0.0.1".to_owned(), 7000)));
        let text = b"*3\r\n:0\r\n:16384\r\n*2\r\n$-1\r\n:7000\r\n";
        let (answer, _) = Answer::read(text).expect("a reply").expect("it is whole");
        assert_eq!(read_range(&answer), None);
        assert_eq!(read_range(&Answer::Nil), None);
    }
}
