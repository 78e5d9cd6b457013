//! Keys and values as text, in the formats of bbolt's command.
//!
//! Writes and reads: nothing.

use sha2::{Digest as _, Sha256};

use crate::{cli::Failure, print::text};

pub const FORMATS: &str = "auto|ascii-encoded|hex|bytes|redacted";

/// Bytes in a format; `bytes` are as they are, so the answer need not be text.
pub fn shown(bytes: &[u8], format: &str) -> Result<Vec<u8>, Failure> {
    let text = match format {
        "ascii-encoded" => text::quote(bytes),
        "hex" => hex(bytes),
        "bytes" => return Ok(bytes.to_vec()),
        "auto" => auto(bytes),
        "redacted" => format!("<redacted len:{} sha256:{}>", bytes.len(), hex(&Sha256::digest(bytes))),
        // Quirk: found out only when there is something to show (bbolt:cmd/bbolt/command/utils.go).
        other => return Err(Failure::general(format!("formatBytes: unsupported format: {other}"))),
    };
    Ok(text.into_bytes())
}

/// As they are if a terminal can show them.
pub fn auto(bytes: &[u8]) -> String {
    printable(bytes).map_or_else(|| hex(bytes), str::to_owned)
}

/// A key on a page: quoted or in hexadecimal.
pub fn key(bytes: &[u8]) -> String {
    if printable(bytes).is_some() { text::quote(bytes) } else { hex(bytes) }
}

fn printable(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.chars().all(text::is_printable))
}

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xF)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// What somebody gave as a key.
pub fn parse(given: &[u8], format: &str) -> Result<Vec<u8>, Failure> {
    match format {
        "ascii-encoded" => Ok(given.to_vec()),
        "hex" => unhex(given).map_err(Failure::general),
        other => Err(Failure::general(format!("parseBytes: unsupported format: {other}"))),
    }
}

fn unhex(given: &[u8]) -> Result<Vec<u8>, String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bad = |byte: u8| format!("encoding/hex: invalid byte: U+{byte:04X} '{}'", char::from(byte));
    let digits: Vec<u8> = given.iter().map(|byte| digit(*byte).ok_or_else(|| bad(*byte))).collect::<Result<_, _>>()?;
    if digits.len() % 2 == 1 {
        return Err("encoding/hex: odd length hex string".to_owned());
    }
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], format: &str) -> String {
        String::from_utf8(shown(bytes, format).expect("the format is known")).expect("text")
    }

    #[test]
    fn each_format_shows_bytes_as_bbolt_does() {
        assert_eq!(text(b"a\x00\"", "ascii-encoded"), "\"a\\x00\\\"\"");
        assert_eq!(text(b"a\x00\xff", "hex"), "6100ff");
        assert_eq!(
            (text("käse".as_bytes(), "auto"), text(b"a\n", "auto"), text(b"", "auto")),
            ("käse".into(), "610a".into(), String::new())
        );
        let empty = "<redacted len:0 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855>";
        assert_eq!(text(b"", "redacted"), empty);
        assert_eq!(shown(b"\xff", "bytes"), Ok(vec![0xff]));
        assert_eq!(shown(b"", "octal"), Err(Failure::general("formatBytes: unsupported format: octal")));
    }

    #[test]
    fn a_key_is_parsed_from_text_or_hexadecimal() {
        assert_eq!(parse(b"6B65", "ascii-encoded"), Ok(b"6B65".to_vec()));
        assert_eq!(parse(b"6B65", "hex"), Ok(b"ke".to_vec()));
        assert_eq!(parse(b"6x", "hex"), Err(Failure::general("encoding/hex: invalid byte: U+0078 'x'")));
        assert_eq!(parse(b"6b6", "hex"), Err(Failure::general("encoding/hex: odd length hex string")));
        assert_eq!(parse(b"k", "octal"), Err(Failure::general("parseBytes: unsupported format: octal")));
    }
}
