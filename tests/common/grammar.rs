//! The small language in which the shapes of commands are written down.
//!
//! ```text
//!   SET          a word in capitals stands for itself
//!   key          a word in small letters is an argument of that kind
//!   (A|B c)      one of them           [A|B c]   one of them, or nothing
//!   x+           one to four times     (score member)+  likewise, as a group
//! ```

/// A part of a command's shape.
#[derive(Debug, PartialEq)]
pub enum Shape {
    Word(String),
    Kind(String),
    Row(Vec<Shape>),
    OneOf(Vec<Shape>),
    Maybe(Box<Shape>),
    Repeat(Box<Shape>),
}

impl Shape {
    /// Reads a shape. Panics on a mistake: shapes are written in this repository.
    pub fn parse(text: &str) -> Shape {
        let mut parser = Parser { rest: text };
        let shape = parser.row();
        assert!(parser.rest.is_empty(), "a bracket too many: {text}");
        shape
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn row(&mut self) -> Shape {
        let mut parts = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.chars().next() {
                None | Some(')' | ']' | '|') => return Shape::Row(parts),
                Some('(') => {
                    let inner = self.alternatives(')');
                    parts.push(self.repeated(inner));
                }
                Some('[') => parts.push(Shape::Maybe(Box::new(self.alternatives(']')))),
                Some(_) => {
                    let word = self.word();
                    parts.push(self.repeated(word));
                }
            }
        }
    }

    fn alternatives(&mut self, close: char) -> Shape {
        let mut choices = Vec::new();
        loop {
            self.rest = &self.rest[1..];
            choices.push(self.row());
            match self.rest.chars().next() {
                Some('|') => {}
                Some(found) if found == close => break,
                _ => panic!("`{close}` is missing"),
            }
        }
        self.rest = &self.rest[1..];
        if choices.len() == 1 { choices.remove(0) } else { Shape::OneOf(choices) }
    }

    fn word(&mut self) -> Shape {
        let end = self.rest.find([' ', '(', ')', '[', ']', '|', '+']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        let is_kind = word.starts_with(|c: char| c.is_ascii_lowercase());
        if is_kind { Shape::Kind(word.into()) } else { Shape::Word(word.into()) }
    }

    fn repeated(&mut self, shape: Shape) -> Shape {
        match self.rest.strip_prefix('+') {
            Some(rest) => {
                self.rest = rest;
                Shape::Repeat(Box::new(shape))
            }
            None => shape,
        }
    }
}
