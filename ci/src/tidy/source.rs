//! One file as the rules see it.
//!
//! ```text
//!   text:  let path = "a/b"; // why        raw line, for rules about words
//!   code:  let path = "   ";               comments gone, strings and chars blank: what the compiler acts on
//! ```
//!
//! Lines keep their numbers, so a finding names the line a reader sees. A line is a test line inside an item under
//! `#[cfg(test)]`, anywhere in a file of tests, and in files that `#[cfg(test)] mod name;` brings in.

use std::ops::Range;

/// Ends of the names of files that hold nothing but tests.
const TEST_FILES: [&str; 3] = ["/tests.rs", "_test.rs", "_tests.rs"];

pub struct Source {
    /// From the root of the checkout, with `/`.
    pub path: String,
    pub lines: Vec<Line>,
}

pub struct Line {
    pub text: String,
    pub code: String,
    pub is_test: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let is_rust = path.ends_with(".rs");
        let code = if is_rust { code_of(text) } else { text.to_owned() };
        let tests = if is_rust { test_ranges(&code) } else { Vec::new() };
        let is_test_file = path.starts_with("tests/") || path.contains("/tests/") || TEST_FILES.iter().any(|end| path.ends_with(end));
        let mut at = 0;
        let mut lines = Vec::new();
        for (text, code) in text.split('\n').zip(code.split('\n')) {
            let is_test = is_test_file || tests.iter().any(|range| range.contains(&at));
            at += code.len() + 1;
            lines.push(Line { text: text.to_owned(), code: code.to_owned(), is_test });
        }
        if lines.last().is_some_and(|line| line.text.is_empty()) {
            lines.pop();
        }
        Source { path: path.to_owned(), lines }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Lines of the product, with their numbers from 1.
    pub fn product(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.numbered().filter(|(_, line)| !line.is_test)
    }

    pub fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().map(|(index, line)| (index + 1, line))
    }

    pub fn mark_as_test(&mut self) {
        self.lines.iter_mut().for_each(|line| line.is_test = true);
    }

    /// Paths, without `.rs`, of the modules this file declares for tests only.
    pub fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        };
        let declared = |line: &Line| {
            let name = line.code.split("mod ").nth(1)?.split(';').next()?.trim();
            let is_declaration = line.is_test && line.code.trim_end().ends_with(';') && name.chars().all(is_word);
            is_declaration.then(|| format!("{folder}/{name}"))
        };
        if self.is_rust() { self.lines.iter().filter_map(declared).collect() } else { Vec::new() }
    }
}

/// A character of an identifier.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Byte positions at which `word` stands in `code` with no identifier character at either end.
pub fn places(code: &str, word: &str) -> Vec<usize> {
    let (first, last) = (word.chars().next().is_some_and(is_word), word.chars().last().is_some_and(is_word));
    let is_whole = |at: usize| {
        let before = code[..at].chars().next_back().is_some_and(is_word);
        let after = code[at + word.len()..].chars().next().is_some_and(is_word);
        !(first && before || last && after)
    };
    code.match_indices(word).map(|(at, _)| at).filter(|at| is_whole(*at)).collect()
}

/// The text with comments and the insides of literals blanked; every newline stays where it was.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let after_word = at > 0 && is_word(char::from(bytes[at - 1]));
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => block_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'\'' => char_end(bytes, at),
            b'r' | b'b' | b'c' if !after_word => raw_end(bytes, at),
            _ => at + 1,
        };
        if end > at + 1 {
            for byte in &mut out[at..end] {
                *byte = if *byte == b'\n' { b'\n' } else { b' ' };
            }
        }
        at = end;
    }
    // Only whole literals and comments were blanked, so what is left is UTF-8 still.
    String::from_utf8_lossy(&out).into_owned()
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |len| at + len)
}

fn block_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The end of a char literal, or of the tick alone where it begins a lifetime.
fn char_end(bytes: &[u8], start: usize) -> usize {
    if bytes.get(start + 1) == Some(&b'\\') {
        let tail = bytes.get(start + 3..).unwrap_or_default();
        return tail.iter().position(|byte| *byte == b'\'').map_or(bytes.len(), |len| start + 3 + len + 1);
    }
    let first = bytes.get(start + 1).copied().unwrap_or_default();
    let len = match first {
        0..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    if bytes.get(start + 1 + len) == Some(&b'\'') { start + len + 2 } else { start + 1 }
}

/// The end of a raw or prefixed literal, or of one byte where there is none.
fn raw_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    if bytes[start] != b'r' && bytes.get(at) == Some(&b'r') {
        at += 1;
    }
    if bytes[at - 1] != b'r' {
        return start + 1;
    }
    let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(at + hashes) != Some(&b'"') {
        return start + 1;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = at + hashes + 1;
    bytes[body..].windows(close.len()).position(|window| window == close).map_or(bytes.len(), |len| body + len + close.len())
}

/// Byte ranges of items under `#[cfg(test)]`, from the attribute to the item's end; the whole file under `#![cfg(test)]`.
fn test_ranges(code: &str) -> Vec<Range<usize>> {
    if code.contains("#![cfg(test)]") {
        return std::iter::once(0..usize::MAX).collect();
    }
    let starts = ["#[cfg(test)]", "#[cfg(all(test"].into_iter().flat_map(|attribute| code.match_indices(attribute));
    starts.map(|(start, _)| start..item_end(code, start)).collect()
}

/// The end of the item that begins at `start`: its `;`, or the brace that closes its first one.
pub fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        code_of(text)
    }

    #[test]
    fn comments_and_literals_are_blank_and_lines_stay() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* b /* c */\n */ d"), "a             \n    d");
        assert_eq!(code(r#"a("b\"c") d"#), "a(      ) d");
        assert_eq!(code("r#\"a\"b\"# c"), "         c");
        assert_eq!(code("br\"a\\\" c"), "       c");
    }

    #[test]
    fn a_lifetime_is_not_a_char() {
        assert_eq!(
            code("fn a<'b>(c: &'b str, d: char) { d == '\"' || d == '\\'' }"),
            "fn a<'b>(c: &'b str, d: char) { d ==     || d ==      }"
        );
    }

    #[test]
    fn lines_under_cfg_test_are_test_lines() {
        let source = Source::new("src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n");
        let product: Vec<usize> = source.product().map(|(number, _)| number).collect();
        assert_eq!(product, [1, 6]);
    }

    #[test]
    fn a_module_declared_for_tests_is_found_from_its_file() {
        let modules = |path| Source::new(path, "#[cfg(test)]\nmod model;\nmod other;\n").test_modules();
        assert_eq!(modules("src/wal/mod.rs"), ["src/wal/model"]);
        assert_eq!(modules("src/wal/frame.rs"), ["src/wal/frame/model"]);
    }

    #[test]
    fn a_word_is_found_whole_only() {
        assert_eq!(places("unsafe_code unsafe { }", "unsafe"), [12]);
        assert_eq!(places("a::b", "::"), [1]);
    }
}
