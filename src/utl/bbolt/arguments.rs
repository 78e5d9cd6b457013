//! The words after a command: how many there have to be, and numbers of pages among them, refused in the words of Go's libraries.
//!
//! Writes and reads: nothing.

use std::ffi::OsString;

use crate::{cli::Failure, print::text};

/// Exactly as many as the array has.
pub fn exactly<const N: usize>(words: Vec<OsString>) -> Result<[OsString; N], Failure> {
    words.try_into().map_err(|words: Vec<_>| Failure::general(format!("accepts {N} arg(s), received {}", words.len())))
}

/// The file, and at least `least` words after it.
pub fn file_and(words: Vec<OsString>, least: usize) -> Result<(OsString, Vec<OsString>), Failure> {
    let (count, least) = (words.len(), least + 1);
    let mut words = words.into_iter();
    match words.next() {
        Some(file) if count >= least => Ok((file, words.collect())),
        _ => Err(Failure::general(format!("requires at least {least} arg(s), only received {count}"))),
    }
}

pub fn number(word: &OsString) -> Result<u64, Failure> {
    let bytes = word.as_encoded_bytes();
    let digits = if bytes.iter().all(u8::is_ascii_digit) { word.to_str().unwrap_or_default() } else { "" };
    let reason = if digits.is_empty() { "invalid syntax" } else { "value out of range" };
    digits.parse().map_err(|_| Failure::general(format!("strconv.ParseUint: parsing {}: {reason}", text::quote(bytes))))
}

/// Numbers of pages; empty words are passed over.
pub fn numbers(words: &[OsString]) -> Result<Vec<u64>, Failure> {
    words.iter().filter(|word| !word.is_empty()).map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_go_takes_for_one() {
        let read = |word: &str| number(&word.into());
        assert_eq!(read("18446744073709551615"), Ok(u64::MAX));
        for (word, reason) in
            [("", "invalid syntax"), ("+1", "invalid syntax"), ("1x", "invalid syntax"), ("18446744073709551616", "value out of range")]
        {
            assert_eq!(read(word), Err(Failure::general(format!("strconv.ParseUint: parsing \"{word}\": {reason}"))));
        }
    }
}
