//! A line of text cut into words, as the interactive modes take it: bare words, `'as it is'`, `"with Go's escapes"`.
//!
//! Writes and reads: nothing.

use std::ffi::OsString;

use crate::print::text;

/// The words of a line. Err: a double-quoted word has an escape that Go does not know.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line;
    while let [first, tail @ ..] = rest {
        rest = match first {
            b if b.is_ascii_whitespace() => tail,
            b'\'' => match tail.iter().position(|&b| b == b'\'') {
                Some(end) => {
                    words.push(tail[..end].to_vec());
                    &tail[end + 1..]
                }
                // A quote that nothing closes is skipped; what follows counts as bare.
                None => tail,
            },
            b'"' => match closing_quote(tail) {
                Some(end) => {
                    let quoted = &rest[..end + 2];
                    let (word, _) = text::unquote(quoted)
                        .ok_or_else(|| format!("bad escape in the quoted word {}", String::from_utf8_lossy(quoted)))?;
                    words.push(word);
                    &tail[end + 1..]
                }
                None => tail,
            },
            // A bare word goes on to the next space, quotes and all.
            _ => {
                let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                words.push(rest[..end].to_vec());
                &rest[end..]
            }
        };
    }
    Ok(words)
}

fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut i = 0;
    while i < text.len() {
        match text[i] {
            b'"' => return Some(i),
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
    None
}

/// A word as an argument. Where arguments are not bytes, one that is not UTF-8 cannot be one.
pub fn to_argument(word: Vec<u8>) -> Result<OsString, String> {
    #[cfg(unix)]
    return Ok(std::os::unix::ffi::OsStringExt::from_vec(word));
    #[cfg(not(unix))]
    return String::from_utf8(word).map(OsString::from).map_err(|e| format!("a word that is not UTF-8: {e}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line.as_bytes()).unwrap().into_iter().map(|w| String::from_utf8(w).unwrap()).collect()
    }

    #[test]
    fn words_are_cut_at_spaces_and_quotes_keep_them_together() {
        assert_eq!(words(r#"put  key1 "overwrote key1""#), ["put", "key1", "overwrote key1"]);
        assert_eq!(words(r"put k 'a \n b'"), ["put", "k", r"a \n b"]);
        assert_eq!(words(r#"put k "a\tb\"c\x41""#), ["put", "k", "a\tb\"cA"]);
        assert_eq!(words("watch --rev=3 k -- echo 'x y'"), ["watch", "--rev=3", "k", "--", "echo", "x y"]);
        assert_eq!(words("put k ''"), ["put", "k", ""]);
        assert!(words("  \t ").is_empty());
    }

    #[test]
    fn a_bare_word_keeps_the_quotes_inside_it() {
        assert_eq!(words(r#"a"b c"d"#), [r#"a"b"#, r#"c"d"#]);
    }

    #[test]
    fn a_quote_that_nothing_closes_is_skipped() {
        assert_eq!(words(r#"put "k v"#), ["put", "k", "v"]);
    }

    #[test]
    fn an_unknown_escape_is_an_error() {
        assert!(split(br#"put "\q""#).unwrap_err().contains(r#""\q""#));
    }
}
