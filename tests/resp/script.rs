//! A script: the lines of a `.txt` file as steps. Its form is described in `tests/resp.rs`.

use crate::common::quote::split;
use std::ops::Range;

/// One script file.
pub struct Script {
    pub lines: Vec<String>,
    pub steps: Vec<Step>,
    /// The one server the script is for, if it is not for both.
    pub only: Option<String>,
    /// Flags that the servers are started with.
    pub flags: Vec<String>,
}

/// One line that does something, with the lines of the reply it expects.
#[derive(Debug)]
pub struct Step {
    /// Index of its line.
    pub line: usize,
    pub action: Action,
    /// Indexes of the lines that say what the reply must be; empty if there are none.
    pub expected: Range<usize>,
}

#[derive(Debug, PartialEq)]
pub enum Action {
    /// `> COMMAND`: send, expect one reply.
    Command(Vec<Vec<u8>>),
    /// `! COMMAND`: send, expect nothing yet.
    Send(Vec<Vec<u8>>),
    /// `>> "bytes"`: send bytes as they are, expect one reply.
    Raw(Vec<u8>),
    /// `!! "bytes"`: send bytes as they are, expect nothing yet.
    SendRaw(Vec<u8>),
    /// `<`: expect one more reply.
    Read,
    /// `@conn N`: go on with connection N, opened on first use.
    Connection(u32),
    /// `@resp3`: switch this connection to RESP3.
    Resp3,
    /// `@sleep MS`.
    Sleep(u64),
    /// `@let NAME`: the last reply becomes `$NAME`.
    Let(String),
    /// `@half-close`: say that nothing more will be sent.
    HalfClose,
    /// `@close`: drop this connection.
    Close,
}

impl Action {
    /// True if a reply follows.
    pub fn has_reply(&self) -> bool {
        matches!(self, Action::Command(_) | Action::Raw(_) | Action::Read)
    }
}

impl Script {
    /// Errors name the line (1-based) and what is wrong with it.
    pub fn parse(text: &str) -> Result<Script, String> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut script = Script { lines: Vec::new(), steps: Vec::new(), only: None, flags: vec![] };
        for (index, line) in lines.iter().enumerate() {
            let at = |why: String| format!("line {}: {why}", index + 1);
            if line.starts_with(['>', '!', '<']) {
                let action = exchange(line).map_err(at)?;
                script.push(index, action);
            } else if let Some(directive) = line.strip_prefix('@') {
                script.directive(index, directive).map_err(at)?;
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                script.expectation(index).map_err(at)?;
            }
        }
        script.lines = lines;
        Ok(script)
    }

    fn push(&mut self, line: usize, action: Action) {
        self.steps.push(Step { line, action, expected: line + 1..line + 1 });
    }

    fn expectation(&mut self, index: usize) -> Result<(), String> {
        let step = self.steps.last_mut().filter(|step| step.action.has_reply());
        let step = step.ok_or("a reply, but nothing was sent that has one")?;
        if step.expected.end != index {
            return Err("a reply must follow its command at once".into());
        }
        step.expected.end = index + 1;
        Ok(())
    }

    fn directive(&mut self, line: usize, text: &str) -> Result<(), String> {
        let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
        let number = || argument.parse::<u64>().map_err(|_| format!("@{name} takes a number"));
        let action = match name {
            "conn" => Action::Connection(number()? as u32),
            "sleep" => Action::Sleep(number()?),
            "let" => Action::Let(argument.into()),
            "resp3" => Action::Resp3,
            "half-close" => Action::HalfClose,
            "close" => Action::Close,
            "only" | "server" if !self.steps.is_empty() => {
                return Err(format!("@{name} stands at the head of a script"));
            }
            "only" if matches!(argument, "dse" | "redis") => {
                self.only = Some(argument.into());
                return Ok(());
            }
            "server" => {
                let words = split(argument).map_err(|_| "quotes do not close")?;
                let words = words.iter().map(|word| String::from_utf8_lossy(word).into_owned());
                self.flags.extend(words);
                return Ok(());
            }
            _ => return Err(format!("no directive: @{text}")),
        };
        self.push(line, action);
        Ok(())
    }
}

fn exchange(line: &str) -> Result<Action, String> {
    let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
    let arguments = split(rest).map_err(|_| "quotes do not close")?;
    match mark {
        "<" if arguments.is_empty() => Ok(Action::Read),
        ">" if !arguments.is_empty() => Ok(Action::Command(arguments)),
        "!" if !arguments.is_empty() => Ok(Action::Send(arguments)),
        ">>" => Ok(Action::Raw(arguments.concat())),
        "!!" => Ok(Action::SendRaw(arguments.concat())),
        _ => Err("write `> COMMAND`, `! COMMAND`, `>> \"bytes\"`, `!! \"bytes\"` or `<`".into()),
    }
}

#[test]
fn lines_become_steps() {
    let text = "# words\n@only dse\n@server --databases 4\n> SET k \"a b\"\n+OK\n\n@conn 2\n\
                > LRANGE l 0 -1\n[\n  \"a\"\n]\n<\n:1\n";
    let script = Script::parse(text).unwrap();
    assert_eq!(script.only.as_deref(), Some("dse"));
    assert_eq!(script.flags, ["--databases", "4"]);
    let lines: Vec<_> = script.steps.iter().map(|s| (s.line, s.expected.clone())).collect();
    assert_eq!(lines, [(3, 4..5), (6, 7..7), (7, 8..11), (11, 12..13)]);
    let arguments = vec![b"SET".to_vec(), b"k".to_vec(), b"a b".to_vec()];
    assert_eq!(script.steps[0].action, Action::Command(arguments));
}

#[test]
fn mistakes_in_a_script_are_told() {
    for text in ["+OK", "@conn x", "@what", "> SET \"a", "> A\n@only dse", "> A\n\n+OK", "=> A"] {
        assert!(Script::parse(text).is_err(), "{text}");
    }
}
