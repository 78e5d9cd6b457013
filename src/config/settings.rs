//! The value of every flag, and which of them somebody set.
//!
//! Writes: the readers of the command line, the environment and the file, one after another. Reads: `resolve`.
//! Invariant: one value per row of `FLAGS`, in the shape of its kind. Asking for a flag or a shape that does not exist is an
//! error of this program and panics; `resolve` asks for each of them on every start.

use std::time::Duration;

use super::flags::{self, FLAGS};
use super::value::Value;
use crate::url::Url;

#[derive(Clone, Debug)]
pub struct Settings {
    values: Vec<Value>,
    is_set: Vec<bool>,
    /// Whether a configuration file stands alone for everything else.
    pub is_from_file: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let default = |flag: &flags::Flag| flag.kind.read(flag.default).expect("the default of a flag is a value of its kind");
        Settings { values: FLAGS.iter().map(default).collect(), is_set: vec![false; FLAGS.len()], is_from_file: false }
    }
}

impl Settings {
    pub fn set(&mut self, at: usize, value: Value) {
        self.values[at] = value;
        self.is_set[at] = true;
    }

    pub fn is_set_at(&self, at: usize) -> bool {
        self.is_set[at]
    }

    /// Whether it was set, even if to its default.
    pub fn is_set(&self, name: &str) -> bool {
        self.is_set[position(name)]
    }

    /// The flags whose value is not the default, by their place in `FLAGS`.
    pub fn changed(&self) -> impl Iterator<Item = usize> + '_ {
        let defaults = Settings::default();
        (0..FLAGS.len()).filter(move |&at| self.values[at] != defaults.values[at])
    }

    pub fn bool(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Bool(value) => *value,
            other => wrong_kind(name, other),
        }
    }

    pub fn uint(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Uint(value) => *value,
            other => wrong_kind(name, other),
        }
    }

    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(value) => *value,
            other => wrong_kind(name, other),
        }
    }

    pub fn nanos(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Span(value) => *value,
            other => wrong_kind(name, other),
        }
    }

    /// The duration; `or` where it is zero or less, which in this program always means the built-in value.
    pub fn span(&self, name: &str, or: Duration) -> Duration {
        match u64::try_from(self.nanos(name)) {
            Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos),
            _ => or,
        }
    }

    pub fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Value::Text(value) => value,
            other => wrong_kind(name, other),
        }
    }

    pub fn urls(&self, name: &str) -> &[Url] {
        match self.value(name) {
            Value::Urls(value) => value,
            other => wrong_kind(name, other),
        }
    }

    pub fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            Value::List(value) => value,
            other => wrong_kind(name, other),
        }
    }

    fn value(&self, name: &str) -> &Value {
        &self.values[position(name)]
    }
}

fn position(name: &str) -> usize {
    flags::find(name).unwrap_or_else(|| panic!("no flag is called {name}"))
}

fn wrong_kind(name: &str, value: &Value) -> ! {
    panic!("--{name} holds {value:?}")
}
