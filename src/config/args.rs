//! The command line, by Go's rules (CFG-3): one dash or two, the value after `=` or in the next word, switches only with `=`,
//! the last of repeated flags wins, and the first word that is no flag ends them.
//!
//! Writes: `Settings`. Reads: the words after the program's name.

use super::flags::{self, FLAGS};
use super::settings::Settings;
use super::value::Kind;

/// Why reading ended before the last word.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// `-h` or `--help`, which win over whatever follows them.
    Help,
    /// Not a command line of this program.
    Usage(String),
}

/// Reads flags into the settings and returns the words left over.
pub fn read<'a>(words: &'a [String], settings: &mut Settings) -> Result<&'a [String], Stop> {
    let mut rest = words;
    while let [word, tail @ ..] = rest {
        let Some(dashed) = word.strip_prefix('-').filter(|dashed| !dashed.is_empty()) else {
            return Ok(rest);
        };
        if word == "--" {
            return Ok(tail);
        }
        rest = tail;
        let body = dashed.strip_prefix('-').unwrap_or(dashed);
        if body.starts_with(['-', '=']) {
            return Err(Stop::Usage(format!("bad flag syntax: {word}")));
        }
        let (name, inline) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
        let Some(at) = flags::find(name) else {
            return Err(if matches!(name, "h" | "help") { Stop::Help } else { unknown(name) });
        };
        let kind = FLAGS[at].kind;
        let text = match (inline, rest) {
            (Some(text), _) => text,
            (None, _) if kind.is_switch() => "true",
            (None, [next, tail @ ..]) => {
                rest = tail;
                next
            }
            (None, []) => return Err(Stop::Usage(format!("flag needs an argument: -{name}"))),
        };
        settings.set(at, kind.read(text).map_err(|error| wrong_value(kind, name, text, &error))?);
    }
    Ok(rest)
}

fn unknown(name: &str) -> Stop {
    Stop::Usage(format!("flag provided but not defined: -{name}"))
}

fn wrong_value(kind: Kind, name: &str, text: &str, error: &str) -> Stop {
    Stop::Usage(match kind {
        Kind::Bool => format!("invalid boolean value {text:?} for -{name}: {error}"),
        _ => format!("invalid value {text:?} for flag -{name}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn settings(line: &str) -> Settings {
        let mut settings = Settings::default();
        assert_eq!(read(&words(line), &mut settings), Ok(&[][..]), "{line}");
        settings
    }

    fn usage_error(line: &str) -> String {
        match read(&words(line), &mut Settings::default()) {
            Err(Stop::Usage(error)) => error,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn one_dash_or_two_and_the_value_inline_or_next() {
        for line in ["-name a", "--name a", "-name=a", "--name=a", "--name=b --name a"] {
            assert_eq!(settings(line).text("name"), "a", "{line}");
        }
    }

    #[test]
    fn a_switch_takes_its_value_only_inline() {
        assert!(settings("--unsafe-no-fsync").bool("unsafe-no-fsync"));
        assert!(!settings("--unsafe-no-fsync --unsafe-no-fsync=f").bool("unsafe-no-fsync"));
        assert_eq!(read(&words("--unsafe-no-fsync false"), &mut Settings::default()), Ok(&words("false")[..]));
    }

    #[test]
    fn flags_end_at_the_first_word_that_is_none() {
        assert_eq!(read(&words("--name=a - --bogus"), &mut Settings::default()), Ok(&words("- --bogus")[..]));
        assert_eq!(read(&words("-- --bogus"), &mut Settings::default()), Ok(&words("--bogus")[..]));
    }

    #[test]
    fn help_wins_over_what_follows_it_only() {
        assert_eq!(read(&words("-h --bogus"), &mut Settings::default()), Err(Stop::Help));
        assert_eq!(usage_error("--bogus -h"), "flag provided but not defined: -bogus");
    }

    #[test]
    fn flags_of_old_are_accepted_with_any_value() {
        settings("--v=1 --vv --config=x --snapshot");
    }
}
