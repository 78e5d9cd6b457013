//! What a command does, and warnings, as etcd's tools write them: one JSON line on stderr, so that the answer on stdout stays clean.
//!
//! Writes: stderr. Reads: the clock.

use serde_json::{Map, Value};
use time::{OffsetDateTime, macros::format_description};

use crate::clock::{Clock, SystemClock};

pub fn info(message: &str, fields: &[(&str, &str)]) {
    write("info", message, fields);
}

pub fn warn(message: &str, fields: &[(&str, &str)]) {
    write("warn", message, fields);
}

pub fn fatal(message: &str, fields: &[(&str, &str)]) {
    write("fatal", message, fields);
}

fn write(level: &str, message: &str, fields: &[(&str, &str)]) {
    let mut line = Map::new();
    for (name, value) in [("level", level), ("ts", &now()), ("logger", "etcdctl"), ("msg", message)].iter().chain(fields) {
        line.insert((*name).into(), Value::from(*value));
    }
    eprintln!("{}", Value::Object(line));
}

fn now() -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    let now = OffsetDateTime::UNIX_EPOCH + SystemClock::default().unix();
    now.format(format).unwrap_or_default()
}
