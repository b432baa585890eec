//! A Rust file as the house rules see it: its text, its tokens, its functions, its test regions.
//!
//! This is a lexer with bracket matching, not a parser: comments, strings and character literals
//! are blanked out, what is left is cut into identifiers and single punctuation characters. That
//! sees into macros as well, where a syntax tree does not. It assumes code that compiles.

use std::ops::RangeInclusive;

/// One file of the repository.
pub struct Source {
    /// Path from the repository's top, with `/`.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// Identifiers and punctuation; empty unless the file is Rust.
    pub tokens: Vec<Token>,
    /// Lines (1-based) that belong to `#[cfg(test)]` or `#[test]` items.
    pub test_regions: Vec<TestRegion>,
}

/// An identifier, or one punctuation character.
#[derive(Debug, PartialEq)]
pub struct Token {
    /// The identifier or character.
    pub text: String,
    /// 1-based line.
    pub line: usize,
}

/// The lines of an item that exists only in tests.
pub struct TestRegion {
    /// First to last line, attributes included.
    pub lines: RangeInclusive<usize>,
    /// True for a module, false for a function, import or the like.
    pub is_module: bool,
}

/// A function with a body.
pub struct Function {
    pub name: String,
    /// Line of the `fn` keyword.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub line_count: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let tokens = if path.ends_with(".rs") { tokenize(&blank(text)) } else { Vec::new() };
        let test_regions = find_test_regions(&tokens);
        Source { path: path.into(), text: text.into(), tokens, test_regions }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// True for files under `src/` that are not test modules of their own.
    pub fn is_product_code(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let is_test_file = name == "tests.rs"
            || name.ends_with("_tests.rs")
            || self.path.contains("/tests/")
            || name.starts_with("loom");
        self.is_rust() && self.path.starts_with("src/") && !is_test_file
    }

    pub fn is_test_line(&self, line: usize) -> bool {
        self.test_regions.iter().any(|region| region.lines.contains(&line))
    }

    /// Lines in front of the first test module: what the limit on file size counts.
    pub fn product_line_count(&self) -> usize {
        let first_test = self.test_regions.iter().find(|region| region.is_module);
        match first_test {
            Some(region) => region.lines.start() - 1,
            None => self.text.lines().count(),
        }
    }

    /// All functions that have a body, nested ones included.
    pub fn functions(&self) -> Vec<Function> {
        let tokens = &self.tokens;
        let mut found = Vec::new();
        for at in 0..tokens.len() {
            let is_named_fn = tokens[at].text == "fn"
                && tokens.get(at + 1).is_some_and(|next| is_identifier(&next.text));
            if !is_named_fn {
                continue;
            }
            if let Some(last) = item_end(tokens, at).filter(|&last| tokens[last].text == "}") {
                found.push(Function {
                    name: tokens[at + 1].text.clone(),
                    line: tokens[at].line,
                    line_count: tokens[last].line - tokens[at].line + 1,
                });
            }
        }
        found
    }

    /// Positions in `tokens` at which the token texts `pattern` stand in a row.
    pub fn find<'a>(&'a self, pattern: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
        self.tokens
            .windows(pattern.len())
            .enumerate()
            .filter(move |(_, window)| window.iter().zip(pattern).all(|(t, p)| t.text == *p))
            .map(|(at, _)| at)
    }
}

/// True for names and keywords, false for punctuation and numbers.
pub fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// `text` with comments, strings and character literals replaced by spaces, lines kept.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if starts_raw_string(bytes, at) => raw_string_end(bytes, at),
            b'\'' => char_literal_end(bytes, at),
            _ => at,
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    bytes[start..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| start + n)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"`, `r#"`, and the same behind a `b` or `c`, but not an identifier that ends in `r`.
fn starts_raw_string(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| bytes[before]);
    let in_word = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let prefixed = matches!(before, Some(b'b' | b'c'));
    let hashes = bytes[at + 1..].iter().take_while(|&&b| b == b'#').count();
    (!in_word || prefixed) && bytes.get(at + 1 + hashes) == Some(&b'"')
}

fn raw_string_end(bytes: &[u8], start: usize) -> usize {
    let hashes = bytes[start + 1..].iter().take_while(|&&b| b == b'#').count();
    let closing = [vec![b'"'], vec![b'#'; hashes]].concat();
    let body = start + hashes + 2;
    let found = bytes[body..].windows(closing.len()).position(|window| window == closing);
    found.map_or(bytes.len(), |n| body + n + closing.len())
}

/// The end of a character literal; a lifetime or label is left alone (`start` is returned).
fn char_literal_end(bytes: &[u8], start: usize) -> usize {
    if bytes.get(start + 1) == Some(&b'\\') {
        let rest = bytes.get(start + 3..).unwrap_or_default();
        return rest.iter().position(|&b| b == b'\'').map_or(bytes.len(), |n| start + 4 + n);
    }
    let width = match bytes.get(start + 1) {
        Some(0xF0..) => 4,
        Some(0xE0..) => 3,
        Some(0xC0..) => 2,
        _ => 1,
    };
    let closed = bytes.get(start + 1 + width) == Some(&b'\'');
    if closed { start + width + 2 } else { start }
}

fn tokenize(code: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut word = String::new();
        for c in line.chars().chain([' ']) {
            if c.is_alphanumeric() || c == '_' {
                word.push(c);
                continue;
            }
            if !word.is_empty() {
                tokens.push(Token { text: std::mem::take(&mut word), line: index + 1 });
            }
            if !c.is_whitespace() {
                tokens.push(Token { text: c.to_string(), line: index + 1 });
            }
        }
    }
    tokens
}

/// The last token of the item that starts at `start`: its closing `}`, or its `;`.
fn item_end(tokens: &[Token], start: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.checked_sub(1)?,
            ";" if depth == 0 => return Some(at),
            _ => {}
        }
        if token.text == "}" && depth == 0 {
            return Some(at);
        }
    }
    None
}

fn find_test_regions(tokens: &[Token]) -> Vec<TestRegion> {
    let mut regions: Vec<TestRegion> = Vec::new();
    for at in 0..tokens.len() {
        let starts_attribute = tokens[at].text == "#"
            && tokens.get(at + 1).is_some_and(|next| next.text == "[")
            && regions.last().is_none_or(|last| *last.lines.end() < tokens[at].line);
        if !starts_attribute {
            continue;
        }
        let Some(attribute_end) = matching_bracket(tokens, at + 1) else { continue };
        if !is_test_attribute(&tokens[at + 2..attribute_end]) {
            continue;
        }
        let item = skip_attributes(tokens, attribute_end + 1);
        if let Some(last) = item_end(tokens, item) {
            let is_module = tokens[item..=last].iter().take(3).any(|token| token.text == "mod");
            regions.push(TestRegion { lines: tokens[at].line..=tokens[last].line, is_module });
        }
    }
    regions
}

fn is_test_attribute(tokens: &[Token]) -> bool {
    let names: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let negated = names.windows(3).any(|window| window == ["not", "(", "test"]);
    matches!(names.first(), Some(&"cfg" | &"test")) && names.contains(&"test") && !negated
}

fn skip_attributes(tokens: &[Token], mut at: usize) -> usize {
    while tokens.get(at).is_some_and(|token| token.text == "#") {
        match matching_bracket(tokens, at + 1) {
            Some(end) => at = end + 1,
            None => break,
        }
    }
    at
}

fn matching_bracket(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "[" => depth += 1,
            "]" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[test]
fn comments_strings_and_characters_are_no_tokens() {
    let text = "let a = \"x.unwrap()\"; // unwrap()\n/* unwrap /* () */ */ let b = '\"';\n\
                let c = r#\"un\"wrap\"#; let d: &'static str = b; let e = '\\'';";
    let source = Source::new("src/a.rs", text);
    let words: Vec<&str> = source.tokens.iter().map(|t| t.text.as_str()).collect();
    assert!(!words.contains(&"unwrap"), "{words:?}");
    assert!(!words.contains(&"wrap"), "{words:?}");
    assert!(words.contains(&"static"), "{words:?}");
    assert_eq!(source.tokens.last().map(|t| t.line), Some(3));
}

#[test]
fn functions_and_test_regions_have_their_lines() {
    let text = "fn a(x: [u8; 2]) -> u8 {\n    x[0]\n}\ntrait T { fn b(); }\n\
                #[cfg(not(test))]\nfn c() {}\n#[cfg(all(test, unix))]\n\
                mod tests {\n fn d() {}\n}\n";
    let source = Source::new("src/a.rs", text);
    let functions: Vec<(String, usize)> =
        source.functions().into_iter().map(|f| (f.name, f.line_count)).collect();
    assert_eq!(functions, [("a".into(), 3), ("c".into(), 1), ("d".into(), 1)]);
    assert!(source.is_test_line(9));
    assert!(!source.is_test_line(6));
    assert_eq!(source.product_line_count(), 6);
}
