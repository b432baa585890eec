//! Makes a long list of commands that shows a difference short.

use super::generate::Command;
use super::oracle::Difference;

/// Replays at most; each starts from empty servers.
const REPLAYS_MAX: usize = 250;

/// The shortest list found that still shows a difference, at its last command. `None` if the
/// whole list does not show one when replayed.
pub fn minimise(
    history: &[Command],
    replay: impl Fn(&[Command]) -> Option<Difference>,
) -> Option<(Vec<Command>, Difference)> {
    let mut search = Search { replay, replays_left: REPLAYS_MAX };
    let related = related_to_last(history);
    let mut best = match search.try_list(&related) {
        Some(found) => found,
        None => search.try_list(history)?,
    };
    let mut chunk = best.0.len().div_ceil(2).max(1);
    loop {
        let shortened = search.without_chunks(&mut best, chunk);
        if chunk == 1 && !shortened || search.replays_left == 0 {
            return Some(best);
        }
        chunk = if shortened { chunk.min(best.0.len()) } else { chunk.div_ceil(2) };
    }
}

type Found = (Vec<Command>, Difference);

struct Search<R> {
    replay: R,
    replays_left: usize,
}

impl<R: Fn(&[Command]) -> Option<Difference>> Search<R> {
    /// The list up to its first difference, if it has one.
    fn try_list(&mut self, commands: &[Command]) -> Option<Found> {
        self.replays_left = self.replays_left.checked_sub(1)?;
        let difference = (self.replay)(commands)?;
        Some((commands[..=difference.index].to_vec(), difference))
    }

    /// Leaves out runs of `chunk` commands, from the end backwards; true if one could go.
    fn without_chunks(&mut self, best: &mut Found, chunk: usize) -> bool {
        let mut shortened = false;
        let mut end = best.0.len().saturating_sub(1);
        while end > 0 {
            let start = end.saturating_sub(chunk);
            let shorter = [&best.0[..start], &best.0[end..]].concat();
            if let Some(found) = self.try_list(&shorter) {
                *best = found;
                shortened = true;
            }
            end = start.min(best.0.len().saturating_sub(1));
        }
        shortened
    }
}

/// The commands that share an argument with the last one, or concern every key.
fn related_to_last(history: &[Command]) -> Vec<Command> {
    let Some(last) = history.last() else { return Vec::new() };
    let everywhere = |command: &Command| {
        let words: [&[u8]; 5] = [b"SELECT", b"SWAPDB", b"MULTI", b"EXEC", b"CONFIG"];
        words.contains(&command[0].to_ascii_uppercase().as_slice())
    };
    let shares = |command: &&Command| {
        everywhere(command) || command[1..].iter().any(|argument| last[1..].contains(argument))
    };
    let before = &history[..history.len() - 1];
    before.iter().filter(shares).chain([last]).cloned().collect()
}

#[test]
fn what_does_not_matter_is_left_out() {
    use super::value::Value;
    let numbers: Vec<Command> = (0..500).map(|n: i32| vec![n.to_string().into()]).collect();
    // The difference shows at 400, if 17 and 300 came before.
    let replay = |commands: &[Command]| {
        let at = |name: &str| commands.iter().position(|c| c[0] == name.as_bytes());
        let (first, second, last) = (at("17")?, at("300")?, at("400")?);
        let replies = (Ok(Value::Int(1)), Ok(Value::Int(2)));
        (first < second && second < last).then_some(Difference { index: last, replies })
    };
    let (commands, _) = minimise(&numbers[..=400], replay).unwrap();
    let names: Vec<_> = commands.iter().map(|c| c[0].clone()).collect();
    assert_eq!(names, [b"17".to_vec(), b"300".to_vec(), b"400".to_vec()]);
}
