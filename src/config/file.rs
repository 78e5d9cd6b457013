//! The configuration file: YAML, and so JSON too (CFG-2, surface 4.3).
//!
//! ```text
//!   max-txn-ops: 128                          a flag's name; numbers are numbers, durations are whole nanoseconds
//!   listen-client-urls: http://a:1,http://b:2 URLs stay one text
//!   client-transport-security:                a section; its keys are joined to it by dots
//!     cert-file: server.crt
//! ```
//!
//! Writes: `Settings`. Reads: the text of the file.
//! Quirk: a key that nobody knows is a warning and not an error, as in etcd, whose own sample file still carries keys of old;
//! pinned by `an_unknown_key_is_a_warning_that_names_it`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_norway::Value as Node;

use super::Notice;
use super::flags::FLAGS;
use super::settings::Settings;
use super::value::{Kind, Value};

/// Reads the file's text into the settings. The error names the key.
pub fn read(text: &str, settings: &mut Settings, notices: &mut Vec<Notice>) -> Result<(), String> {
    let keys: Keys = serde_norway::from_str(text).map_err(|error| error.to_string())?;
    read_section("", keys.0, settings, notices)
}

/// The keys of the file in their order. Quirk: of a key that is there twice the last one counts, as in etcd; pinned by
/// `the_last_of_repeated_keys_counts`.
struct Keys(Vec<(Node, Node)>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keys, D::Error> {
        deserializer.deserialize_any(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of flag names to values")
    }

    fn visit_unit<E>(self) -> Result<Keys, E> {
        Ok(Keys(Vec::new()))
    }

    fn visit_none<E>(self) -> Result<Keys, E> {
        Ok(Keys(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = Vec::new();
        while let Some(entry) = map.next_entry()? {
            keys.push(entry);
        }
        Ok(Keys(keys))
    }
}

type Entries = Vec<(Node, Node)>;

fn read_section(prefix: &str, keys: Entries, settings: &mut Settings, notices: &mut Vec<Notice>) -> Result<(), String> {
    let mut seen: Vec<String> = Vec::new();
    for (key, node) in keys {
        let Node::String(key) = key else {
            return Err(format!("a key is a text, not {}", shape(&key)));
        };
        let key = key.to_lowercase();
        let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        if seen.contains(&path) {
            notices.push(Notice::warn("key is in the configuration file twice, the last one counts", &path));
        }
        let at = FLAGS.iter().position(|flag| flag.file_key == Some(path.as_str()));
        match (at, node) {
            (_, Node::Null) => {}
            (Some(at), node) => settings.set(at, read_node(FLAGS[at].kind, &node).map_err(|error| format!("{path}: {error}"))?),
            (None, Node::Mapping(keys)) if is_section(&path) => {
                read_section(&path, keys.into_iter().collect(), settings, notices)?;
            }
            (None, node) if is_section(&path) => return Err(format!("{path}: a section is wanted, not {}", shape(&node))),
            (None, _) => notices.push(Notice::warn("unknown key in the configuration file is ignored", &path)),
        }
        seen.push(path);
    }
    Ok(())
}

fn is_section(path: &str) -> bool {
    let is_below = |key: &str| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    FLAGS.iter().filter_map(|flag| flag.file_key).any(is_below)
}

fn read_node(kind: Kind, node: &Node) -> Result<Value, String> {
    let wanted = |what: &str| format!("{what} is wanted, not {}", shape(node));
    match (kind, node) {
        (Kind::Bool, Node::Bool(value)) => Ok(Value::Bool(*value)),
        // YAML 1.1, which etcd reads, has more words for truth than YAML 1.2.
        (Kind::Bool, Node::String(word)) if matches!(word.to_lowercase().as_str(), "yes" | "on" | "y") => Ok(Value::Bool(true)),
        (Kind::Bool, Node::String(word)) if matches!(word.to_lowercase().as_str(), "no" | "off" | "n") => Ok(Value::Bool(false)),
        (Kind::Bool, _) => Err(wanted("true or false")),
        (Kind::Uint | Kind::Uint32, Node::Number(number)) => match number.as_u64() {
            Some(value) if kind == Kind::Uint || value <= u64::from(u32::MAX) => Ok(Value::Uint(value)),
            _ => Err(format!("a whole number from 0 is wanted, not {number}")),
        },
        (Kind::Uint | Kind::Uint32, _) => Err(wanted("a whole number from 0")),
        (Kind::Int, Node::Number(number)) => {
            number.as_i64().map(Value::Int).ok_or_else(|| format!("a whole number is wanted, not {number}"))
        }
        (Kind::Int, _) => Err(wanted("a whole number")),
        (Kind::Span, Node::Number(number)) => {
            number.as_i64().map(Value::Span).ok_or_else(|| format!("a whole number of nanoseconds is wanted, not {number}"))
        }
        (Kind::Span, _) => Err(wanted("a whole number of nanoseconds")),
        (Kind::List, Node::Sequence(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| format!("a list of texts is wanted, and it holds {}", shape(item))))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::List),
        (_, Node::String(text)) => kind.read(text),
        _ => Err(wanted("a text")),
    }
}

fn shape(node: &Node) -> &'static str {
    match node {
        Node::Null => "nothing",
        Node::Bool(_) => "true or false",
        Node::Number(_) => "a number",
        Node::String(_) => "a text",
        Node::Sequence(_) => "a list",
        Node::Mapping(_) => "a mapping",
        Node::Tagged(_) => "a tagged value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let mut settings = Settings::default();
        read(text, &mut settings, &mut Vec::new()).unwrap();
        settings
    }

    fn error(text: &str) -> String {
        read(text, &mut Settings::default(), &mut Vec::new()).unwrap_err()
    }

    #[test]
    fn keys_are_flag_names_and_sections_join_theirs() {
        let settings = settings(
            "name: a\nmax-txn-ops: 7\nwatch-progress-notify-interval: 600000000000\nforce-new-cluster: true\n\
             listen-client-urls: http://127.0.0.1:1\nlog-outputs: [stderr, x.log]\nsocket-options:\n  reuse-port: true\n\
             client-transport-security:\n  cert-file: server.crt\n",
        );
        assert_eq!((settings.text("name"), settings.uint("max-txn-ops")), ("a", 7));
        assert_eq!(settings.nanos("watch-progress-notify-interval"), 600_000_000_000);
        assert_eq!(settings.list("log-outputs"), ["stderr", "x.log"]);
        assert!(settings.bool("force-new-cluster") && settings.bool("socket-reuse-port"));
        assert_eq!(settings.text("cert-file"), "server.crt");
    }

    #[test]
    fn json_is_read_too() {
        assert_eq!(settings(r#"{"name": "a", "quota-backend-bytes": -1}"#).int("quota-backend-bytes"), -1);
    }

    #[test]
    fn a_wrong_value_names_its_key() {
        for (text, message) in [
            ("max-txn-ops: abc", "max-txn-ops: a whole number from 0 is wanted, not a text"),
            ("max-txn-ops: -1", "max-txn-ops: a whole number from 0 is wanted, not -1"),
            ("heartbeat-interval: 100.5", "heartbeat-interval: a whole number from 0 is wanted, not 100.5"),
            ("watch-progress-notify-interval: 10m", "watch-progress-notify-interval: a whole number of nanoseconds is wanted, not a text"),
            ("force-new-cluster: maybe", "force-new-cluster: true or false is wanted, not a text"),
            ("name: 5", "name: a text is wanted, not a number"),
            ("listen-metrics-urls: foo", "listen-metrics-urls: URL scheme must be http, https, unix, or unixs: foo"),
            ("client-transport-security: 1", "client-transport-security: a section is wanted, not a number"),
            ("feature-gates: Foo=true", "feature-gates: unrecognized feature gate: Foo"),
        ] {
            assert_eq!(error(text), message);
        }
        assert!(error("foo").contains("expected a mapping of flag names to values"));
        assert!(error("a: [").contains("line 2"), "{}", error("a: ["));
    }

    #[test]
    fn an_unknown_key_is_a_warning_that_names_it() {
        let mut notices = Vec::new();
        read("bogus: 1\nclient-transport-security:\n  foo: 1\n", &mut Settings::default(), &mut notices).unwrap();
        let subjects: Vec<&str> = notices.iter().map(|notice| notice.subject.as_str()).collect();
        assert_eq!(subjects, ["bogus", "client-transport-security.foo"]);
    }

    #[test]
    fn the_last_of_repeated_keys_counts() {
        let (mut settings, mut notices) = (Settings::default(), Vec::new());
        read("name: a\nNAME: b\nname: c\n", &mut settings, &mut notices).unwrap();
        assert_eq!((settings.text("name"), notices.len(), notices[0].subject.as_str()), ("c", 2, "name"));
    }

    #[test]
    fn an_empty_file_sets_nothing() {
        assert_eq!(settings("# only a comment\n").changed().count(), 0);
    }
}
