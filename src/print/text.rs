//! Small texts in Go's manner: quoted strings, hexadecimal bytes, durations, sizes.
//!
//! Writes and reads: nothing. etcd's tools are written in Go, so scripts parse what Go's `%q`, `%v` and friends produce.

use std::{fmt::Write, time::Duration};

/// A quoted string as Go's `%q` writes it: printable characters as they are, the rest as escapes, bytes that are not UTF-8 as `\xNN`.
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_quoted(&mut out, c));
        chunk.invalid().iter().for_each(|b| write!(out, "\\x{b:02x}").expect("a String takes all"));
    }
    out.push('"');
    out
}

fn push_quoted(out: &mut String, c: char) {
    let escaped = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\x0c' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\x0b' => "\\v",
        c if is_printable(c) => return out.push(c),
        c => {
            let code = c as u32;
            match code {
                0..=0x7f => write!(out, "\\x{code:02x}"),
                0x80..=0xffff => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            }
            .expect("a String takes all");
            return;
        }
    };
    out.push_str(escaped);
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space.
pub fn is_printable(c: char) -> bool {
    // The standard library escapes exactly the others, plus combining marks when they come first: hence the letter before.
    matches!(c, '\'' | '"' | '\\') || format!("a{c}").escape_debug().eq(['a', c])
}

/// The bytes of a Go string literal: `"..."` with Go's escapes, or `` `...` `` taken as it is. Answers what follows it too.
pub fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    match text {
        [b'`', rest @ ..] => {
            let end = rest.iter().position(|&b| b == b'`')?;
            Some((rest[..end].to_vec(), &rest[end + 1..]))
        }
        [b'"', rest @ ..] => unquote_double(rest),
        _ => None,
    }
}

fn unquote_double(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut out = Vec::new();
    loop {
        match rest {
            [b'"', tail @ ..] => return Some((out, tail)),
            [b'\\', kind, tail @ ..] => rest = unescape(*kind, tail, &mut out)?,
            [b, tail @ ..] => {
                out.push(*b);
                rest = tail;
            }
            [] => return None,
        }
    }
}

fn unescape<'a>(kind: u8, tail: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let plain = match kind {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' | b'"' => kind,
        b'x' => {
            out.push(u8::try_from(digits(tail, 2, 16)?).ok()?);
            return Some(&tail[2..]);
        }
        b'u' | b'U' => {
            let len = if kind == b'u' { 4 } else { 8 };
            let c = char::from_u32(digits(tail, len, 16)?)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(&tail[len..]);
        }
        b'0'..=b'7' => {
            let low = digits(tail, 2, 8)?;
            out.push(u8::try_from(u32::from(kind - b'0') * 64 + low).ok()?);
            return Some(&tail[2..]);
        }
        _ => return None,
    };
    out.push(plain);
    Some(tail)
}

fn digits(text: &[u8], len: usize, radix: u32) -> Option<u32> {
    let text = text.get(..len)?;
    text.iter().try_fold(0u32, |sum, &b| Some(sum * radix + char::from(b).to_digit(radix)?))
}

/// Bytes as `\x68\x69`.
pub fn hex_bytes(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 4), |mut out, b| {
        write!(out, "\\x{b:02x}").expect("a String takes all");
        out
    })
}

/// A duration as Go writes it: `1m2.5s`, `2.029158ms`, `0s`.
pub fn duration(d: Duration) -> String {
    let nanos = d.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    if nanos < 1_000_000_000 {
        let (unit, name) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{}{name}", decimal(nanos, unit));
    }
    let (hours, minutes) = (d.as_secs() / 3600, d.as_secs() / 60 % 60);
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, m) => format!("{m}m{seconds}s"),
        (h, m) => format!("{h}h{m}m{seconds}s"),
    }
}

/// `value / unit` with all its digits and no trailing zeros; `unit` is a power of ten.
fn decimal(value: u128, unit: u128) -> String {
    let (whole, part) = (value / unit, value % unit);
    if part == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{part:0digits$}").trim_end_matches('0'))
}

/// A Go duration read back: `5s`, `1m30s`, `1.5h`, `100ms`, `0`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanos = 0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let tail = &rest[number..];
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let scale = match &tail[..unit] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        nanos += rest[..number].parse::<f64>().ok()? * scale;
        rest = &tail[unit..];
    }
    // Go holds a duration in 63 bits of nanoseconds.
    (nanos <= i64::MAX as f64).then(|| Duration::from_nanos(nanos.round() as u64))
}

/// A size in powers of a thousand: `20 kB`, `2.1 GB`, `7 B`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog10() / 3) as usize;
    let scaled = bytes as f64 / 1000f64.powi(power as i32);
    let rounded = (scaled * 10.0 + 0.5).floor() / 10.0;
    if rounded < 10.0 { format!("{rounded:.1} {}", UNITS[power]) } else { format!("{rounded:.0} {}", UNITS[power]) }
}

/// The columns' share that is not in use, in whole percent.
pub fn percent_not_in_use(size: i64, in_use: i64) -> i64 {
    // A store of no size has nothing unused (etcd divides by zero here).
    if size == 0 { 0 } else { 100 - in_use.saturating_mul(100) / size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_string_is_written_as_go_writes_it() {
        for (bytes, quoted) in [
            (&b"hello"[..], r#""hello""#),
            (b"v\"2\\", r#""v\"2\\""#),
            (b"x\xff\xfe\n", r#""x\xff\xfe\n""#),
            ("<a>&\"é\x01".as_bytes(), r#""<a>&\"é\x01""#),
            ("it's\t\u{7f}\u{a0}\u{200b}\u{1F600}\u{E0001}".as_bytes(), r#""it's\t\x7f\u00a0\u200b😀\U000e0001""#),
            ("e\u{301}".as_bytes(), "\"e\u{301}\""),
        ] {
            assert_eq!(quote(bytes), quoted);
        }
    }

    #[test]
    fn a_quoted_string_is_read_back_with_all_of_its_escapes() {
        assert_eq!(
            unquote(br#""a\"b\x41\101\u00e9\U0001F600\n" rest"#).unwrap(),
            ("a\"bAA\u{e9}\u{1F600}\n".as_bytes().to_vec(), &b" rest"[..])
        );
        assert_eq!(unquote(br"`raw\n`)").unwrap(), (br"raw\n".to_vec(), &b")"[..]));
        for broken in [&b"\"open"[..], b"bare", b"\"\\q\"", b"\"\\xg0\"", b"\"\\777\"", b"\"\\ud800\"", b""] {
            assert_eq!(unquote(broken), None);
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unquote(quote(&all).as_bytes()).unwrap().0, all);
    }

    #[test]
    fn durations_are_written_as_go_writes_them_and_read_back() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (2_029_158, "2.029158ms"),
            (1_002_033_247, "1.002033247s"),
            (62_500_000_000, "1m2.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            let d = Duration::from_nanos(nanos);
            assert_eq!(duration(d), text);
            assert_eq!(parse_duration(text), Some(d));
        }
        assert_eq!(parse_duration("1.5h"), Some(Duration::from_secs(5400)));
        for bad in ["", "5", "s", "5x", "-1s", "1s5"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_rounded_as_the_go_library_rounds_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (999, "999 B"),
            (16384, "16 kB"),
            (20480, "20 kB"),
            (2_147_483_648, "2.1 GB"),
            (1_000_000, "1.0 MB"),
            (8_589_934_592, "8.6 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
