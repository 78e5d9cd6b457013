//! Numbers on the command line, and Go's words for what is wrong with them.
//!
//! Writes and reads: nothing.

/// A number in one radix, as ids of leases (16) and revisions (10) are given.
pub fn parse(text: &str, radix: u32) -> Result<i64, String> {
    i64::from_str_radix(text, radix).map_err(|e| wrong("ParseInt", text, &e))
}

/// The id of a member.
pub fn parse_id(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|e| wrong("ParseUint", text, &e))
}

fn wrong(function: &str, text: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let reason = if matches!(error.kind(), PosOverflow | NegOverflow) { "value out of range" } else { "invalid syntax" };
    format!("strconv.{function}: parsing {}: {reason}", crate::print::text::quote(text.as_bytes()))
}

/// The value of a number flag: decimal, or with a prefix 0x, 0o, 0b.
pub fn parse_flag(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    match prefixed(digits) {
        Some((digits, radix)) => parse(&format!("{sign}{digits}"), radix),
        None => parse(text, 10),
    }
}

/// The same of a flag that takes no sign.
pub fn parse_unsigned(text: &str) -> Result<u64, String> {
    let (digits, radix) = prefixed(text).unwrap_or((text, 10));
    u64::from_str_radix(digits, radix).map_err(|e| wrong("ParseUint", text, &e))
}

fn prefixed(digits: &str) -> Option<(&str, u32)> {
    let radix = match digits.get(..2)?.to_ascii_lowercase().as_str() {
        "0x" => 16,
        "0o" => 8,
        "0b" => 2,
        _ => return None,
    };
    Some((&digits[2..], radix))
}

/// The value of a switch, in all the ways that Go takes it.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {}: invalid syntax", crate::print::text::quote(text.as_bytes()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_number_is_explained_as_go_does() {
        assert_eq!(parse("694d867d086ac245", 16), Ok(0x694d_867d_086a_c245));
        assert_eq!(parse("zz", 16).unwrap_err(), r#"strconv.ParseInt: parsing "zz": invalid syntax"#);
        assert_eq!(parse("", 10).unwrap_err(), r#"strconv.ParseInt: parsing "": invalid syntax"#);
        assert_eq!(parse("ffffffffffffffff", 16).unwrap_err(), r#"strconv.ParseInt: parsing "ffffffffffffffff": value out of range"#);
        assert_eq!((parse_flag("0x10"), parse_flag("-7")), (Ok(16), Ok(-7)));
        assert_eq!((parse_unsigned("0x10"), parse_unsigned("7")), (Ok(16), Ok(7)));
        assert_eq!(parse_unsigned("-3").unwrap_err(), r#"strconv.ParseUint: parsing "-3": invalid syntax"#);
    }
}
