//! What a setting may hold, and how its text reads: Go's own rules for booleans, whole numbers and durations, since unit files
//! and scripts were written against them.
//!
//! Writes: nothing. Reads: nothing.
//! Invariant: every `Value` of one flag has the variant that its `Kind` names.

use super::gates;
use crate::url::{self, Url};

/// The shape of a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Uint,
    Uint32,
    Int,
    /// Nanoseconds; negative values are allowed, as they are in Go.
    Span,
    Text,
    Choice(&'static [&'static str]),
    Urls,
    /// Origins: URLs, or `*` for all of them.
    Origins,
    List,
    Gates,
    /// A flag of old: any value, which is dropped.
    Retired,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    Uint(u64),
    Int(i64),
    Span(i64),
    Text(String),
    Urls(Vec<Url>),
    List(Vec<String>),
}

const OUT_OF_RANGE: &str = "value out of range";
const NOT_A_VALUE: &str = "parse error";

impl Kind {
    /// Whether the bare flag means true, so that the next word is not its value.
    pub fn is_switch(self) -> bool {
        matches!(self, Kind::Bool | Kind::Retired)
    }

    /// Reads the text of a flag or of an environment variable. The error is Go's wording, which scripts match.
    pub fn read(self, text: &str) -> Result<Value, String> {
        match self {
            Kind::Bool => read_bool(text).map(Value::Bool).ok_or_else(|| NOT_A_VALUE.to_owned()),
            Kind::Uint => read_uint(text).map(Value::Uint).map_err(str::to_owned),
            Kind::Uint32 => match read_uint(text) {
                Ok(number) if number <= u64::from(u32::MAX) => Ok(Value::Uint(number)),
                Err(NOT_A_VALUE) => Err(format!("strconv.ParseUint: parsing {text:?}: invalid syntax")),
                _ => Err(format!("strconv.ParseUint: parsing {text:?}: {OUT_OF_RANGE}")),
            },
            Kind::Int => read_int(text).map(Value::Int).map_err(str::to_owned),
            Kind::Span => read_span(text).map(Value::Span).ok_or_else(|| NOT_A_VALUE.to_owned()),
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Choice(choices) if choices.contains(&text) => Ok(Value::Text(text.to_owned())),
            Kind::Choice(_) => Err("invalid value".to_owned()),
            Kind::Urls => url::read_list(text).map(Value::Urls),
            Kind::Origins => match text {
                "" | "*" => Ok(Value::List(vec!["*".to_owned()])),
                _ => url::read_list(text).map(|urls| Value::List(urls.iter().map(Url::to_string).collect())),
            },
            Kind::List => Ok(Value::List(read_list(text))),
            Kind::Gates => gates::Gates::read(text).map(|_| Value::Text(text.to_owned())),
            Kind::Retired => Ok(Value::Text(String::new())),
        }
    }
}

fn read_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Comma-separated words, each once, in their order.
fn read_list(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    words
}

/// Decimal, or with a prefix 0x, 0o, 0b or 0; underscores may stand between digits.
fn read_uint(text: &str) -> Result<u64, &'static str> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let digits: String = digits.chars().filter(|&c| c != '_').collect();
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(NOT_A_VALUE);
    }
    u64::from_str_radix(&digits, radix).map_err(|_| OUT_OF_RANGE)
}

fn read_int(text: &str) -> Result<i64, &'static str> {
    let (is_negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let number = i128::from(read_uint(digits)?);
    i64::try_from(if is_negative { -number } else { number }).map_err(|_| OUT_OF_RANGE)
}

const UNITS: &[(&str, i128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A duration such as `1h30m` or `-1.5s`, in nanoseconds. A number without a unit is refused, zero aside.
pub fn read_span(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes() {
        [b'-', ..] => (-1, &text[1..]),
        [b'+', ..] => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 18 {
            return None;
        }
        let fraction = &fraction[..fraction.len().min(18)];
        let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
        total += digits(whole)? * scale;
        total += digits(fraction)? * scale / 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        rest = tail;
    }
    i64::try_from(sign * total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn durations_read_as_in_go() {
        for (text, nanos) in [
            ("0", 0),
            ("100ms", 100 * MS),
            ("5s", 5_000 * MS),
            ("1h30m.5s", 5_400_500 * MS),
            ("-1.5s", -1_500 * MS),
            ("2h", 7_200_000 * MS),
            ("1us", 1_000),
            ("0.000000001s", 1),
        ] {
            assert_eq!(read_span(text), Some(nanos), "{text}");
        }
        for text in ["", "5", "5d", "s", ".s", "1.2.3s", "--5s", "9999999999h", "1 s", "1s5"] {
            assert_eq!(read_span(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_read_as_in_go() {
        for (text, number) in [("16", Ok(16)), ("0x10", Ok(16)), ("1_0", Ok(10)), ("0b11", Ok(3)), ("010", Ok(8)), ("0", Ok(0))] {
            assert_eq!(read_uint(text), number, "{text}");
        }
        for (text, error) in
            [("abc", NOT_A_VALUE), ("-1", NOT_A_VALUE), ("+1", NOT_A_VALUE), ("", NOT_A_VALUE), ("99999999999999999999999", OUT_OF_RANGE)]
        {
            assert_eq!(read_uint(text), Err(error), "{text}");
        }
        assert_eq!(read_int("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(read_int("9223372036854775808"), Err(OUT_OF_RANGE));
    }

    #[test]
    fn a_list_keeps_each_word_once_in_order() {
        assert_eq!(read_list("b,a,b,,c"), ["b", "a", "c"]);
    }
}
