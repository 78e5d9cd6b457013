//! The log: one line an event, in the shape of etcd's own (LOG-3, LOG-4), so that what reads etcd's logs reads ours.
//!
//! ```text
//!   {"level":"info","ts":"2026-01-02T03:04:05.000006Z","caller":"node/applier.rs:12","msg":"..","member-id":"8e9e","took":"1.5ms"}
//!   2026-01-02T03:04:05.000006Z <tab> info <tab> node/applier.rs:12 <tab> .. <tab> {"member-id": "8e9e", "took": "1.5ms"}
//! ```
//!
//! Writes: the outputs of `--log-outputs`. Reads: every event of this program, and warnings of the libraries below it.
//! Fields: `member_id = %id` is written as `member-id`; integers and booleans stay what they are, everything else is a text, so a
//! duration is logged as `took = ?took`; a list of texts (`urls = ?urls`) stays a list. `logger` comes before the caller, as in etcd.
//! Bound: of one line of code, 100 events a second are written and then every hundredth.
//! Values and passwords are never fields of an event (LOG-7). Hot paths do not log.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;

use time::OffsetDateTime;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::clock::{Clock, SystemClock};
use crate::go_words::go_words;

const WRITTEN_PER_SECOND: u32 = 100;

/// What is logged, how and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub level: Level,
    pub is_console: bool,
    pub outputs: Vec<Output>,
}

/// Least level that is logged. Nothing here logs panics apart from errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Stderr,
    Stdout,
    File(PathBuf),
}

/// Something to log at start: a sentence, and the flag, variable or key that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub is_warning: bool,
    pub text: String,
    pub subject: String,
}

impl Notice {
    pub fn warn(text: &str, subject: &str) -> Notice {
        Notice { is_warning: true, text: text.to_owned(), subject: subject.to_owned() }
    }
}

/// Opens the outputs and takes every event from now on. May be called once in a process.
pub fn start(log: &Options) -> io::Result<()> {
    let sinks = log.outputs.iter().map(Sink::open).collect::<io::Result<Vec<_>>>()?;
    let logger = Logger::new(log, sinks);
    tracing::subscriber::set_global_default(logger).map_err(io::Error::other)
}

/// Writes what the configuration wanted to say before there was a log.
pub fn notices(notices: &[Notice]) {
    for Notice { is_warning, text, subject } in notices {
        if *is_warning {
            tracing::warn!(setting = subject, "{text}");
        } else {
            tracing::info!(setting = subject, "{text}");
        }
    }
}

/// The one line of a start that is refused, for when no log could be configured.
pub fn refuse(reason: &str) {
    early("warn", concat!("log.rs:", line!()), "failed to verify flags", ("error", reason));
}

/// A line on stderr, for when there is no log yet.
pub fn early(level: &'static str, caller: &str, message: &str, (name, value): (&str, &str)) {
    let mut line = head(level, SystemClock::default().unix(), None, caller, message);
    push_field(&mut line, name, &Shown::Text(value.to_owned()));
    line.push_str("}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}

enum Sink {
    Stderr,
    Stdout,
    File(File),
}

impl Sink {
    fn open(output: &Output) -> io::Result<Sink> {
        Ok(match output {
            Output::Stderr => Sink::Stderr,
            Output::Stdout => Sink::Stdout,
            Output::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                Sink::File(file.map_err(|error| {
                    io::Error::new(error.kind(), format!("open sink {path:?}: open {}: {}", path.display(), go_words(&error)))
                })?)
            }
        })
    }

    /// One write, so that lines of several processes do not mix. A log that cannot be written is no reason to stop.
    fn write(&mut self, line: &[u8]) {
        let _ = match self {
            Sink::Stderr => io::stderr().write_all(line),
            Sink::Stdout => io::stdout().write_all(line).and_then(|()| io::stdout().flush()),
            Sink::File(file) => file.write_all(line),
        };
    }
}

struct Logger {
    level: LevelFilter,
    is_console: bool,
    clock: SystemClock,
    written: Mutex<Written>,
}

struct Written {
    sinks: Vec<Sink>,
    /// The second, and how many events of each line of code it has had.
    second: u64,
    counts: HashMap<Identifier, u32>,
}

impl Logger {
    fn new(log: &Options, sinks: Vec<Sink>) -> Logger {
        let level = match log.level {
            Level::Debug => LevelFilter::DEBUG,
            Level::Info => LevelFilter::INFO,
            Level::Warn => LevelFilter::WARN,
            Level::Error => LevelFilter::ERROR,
        };
        let written = Mutex::new(Written { sinks, second: 0, counts: HashMap::new() });
        Logger { level, is_console: log.is_console, clock: SystemClock::default(), written }
    }

    fn line(&self, event: &Event<'_>, unix: std::time::Duration) -> String {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let level = level_name(*metadata.level());
        let caller = caller(metadata);
        if self.is_console { console(level, unix, &caller, &fields) } else { json(level, unix, &caller, &fields) }
    }
}

impl Subscriber for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = metadata.target() == "etcd" || metadata.target().starts_with("etcd::");
        let limit = if is_ours { self.level } else { self.level.min(LevelFilter::WARN) };
        metadata.is_event() && *metadata.level() <= limit
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let unix = self.clock.unix();
        let line = self.line(event, unix);
        let mut written = self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if written.admits(event.metadata().callsite(), unix.as_secs()) {
            written.sinks.iter_mut().for_each(|sink| sink.write(line.as_bytes()));
        }
    }

    // Spans are not logged and not kept.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Written {
    fn admits(&mut self, line_of_code: Identifier, second: u64) -> bool {
        if second != self.second {
            self.second = second;
            self.counts.clear();
        }
        let count = self.counts.entry(line_of_code).or_default();
        *count += 1;
        *count <= WRITTEN_PER_SECOND || count.is_multiple_of(WRITTEN_PER_SECOND)
    }
}

fn level_name(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warn",
        tracing::Level::INFO => "info",
        _ => "debug",
    }
}

/// The last directory and the file, with the line.
fn caller(metadata: &Metadata<'_>) -> String {
    let file = metadata.file().unwrap_or(metadata.target());
    let start = file.rmatch_indices(['/', '\\']).nth(1).map_or(0, |(at, _)| at + 1);
    let file = &file[start..];
    // A room of one file.
    let file = file.strip_prefix("src/").or(file.strip_prefix("src\\")).unwrap_or(file);
    format!("{file}:{}", metadata.line().unwrap_or_default())
}

pub(crate) fn timestamp(unix: std::time::Duration) -> String {
    let at = i128::try_from(unix.as_nanos()).ok().and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    let (hour, minute, second, micros) = (time.hour(), time.minute(), time.second(), time.microsecond());
    format!("{}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z", date.year(), u8::from(date.month()), date.day())
}

fn json(level: &str, unix: std::time::Duration, caller: &str, fields: &Fields) -> String {
    let mut line = head(level, unix, fields.logger.as_deref(), caller, &fields.message);
    for (name, value) in &fields.rest {
        push_field(&mut line, name, value);
    }
    line.push_str("}\n");
    line
}

fn head(level: &str, unix: std::time::Duration, logger: Option<&str>, caller: &str, message: &str) -> String {
    let mut line = format!("{{\"level\":\"{level}\",\"ts\":\"{}\"", timestamp(unix));
    if let Some(logger) = logger {
        push_field(&mut line, "logger", &Shown::Text(logger.to_owned()));
    }
    push_field(&mut line, "caller", &Shown::Text(caller.to_owned()));
    push_field(&mut line, "msg", &Shown::Text(message.to_owned()));
    line
}

fn push_field(line: &mut String, name: &str, value: &Shown) {
    let _ = write!(line, ",{}:{value}", quoted(name));
}

fn console(level: &str, unix: std::time::Duration, caller: &str, fields: &Fields) -> String {
    let mut line = format!("{}\t{level}\t", timestamp(unix));
    if let Some(logger) = &fields.logger {
        let _ = write!(line, "{logger}\t");
    }
    let _ = write!(line, "{caller}\t{}", fields.message.replace('\n', "\\n"));
    if !fields.rest.is_empty() {
        let shown: Vec<String> = fields.rest.iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
        let _ = write!(line, "\t{{{}}}", shown.join(", "));
    }
    line.push('\n');
    line
}

/// A JSON text.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

enum Shown {
    Text(String),
    /// Written as it is: a number, a boolean or a list.
    Raw(String),
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shown::Text(text) => f.write_str(&quoted(text)),
            Shown::Raw(raw) => f.write_str(raw),
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    logger: Option<String>,
    rest: Vec<(String, Shown)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Shown) {
        match (field.name(), value) {
            ("message", Shown::Text(text) | Shown::Raw(text)) => self.message = text,
            ("logger", Shown::Text(text) | Shown::Raw(text)) => self.logger = Some(text),
            (name, value) => self.rest.push((name.replace('_', "-"), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        let is_list = field.name() != "message" && text.starts_with('[') && serde_json::from_str::<Vec<String>>(&text).is_ok();
        self.push(field, if is_list { Shown::Raw(text) } else { Shown::Text(text) });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Shown::Text(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Shown::Raw(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Shown::Raw(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Shown::Raw(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let value = if value.is_finite() { Shown::Raw(value.to_string()) } else { Shown::Text(value.to_string()) };
        self.push(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Runs with a logger that writes to a file, and returns its lines.
    fn lines(level: Level, is_console: bool, body: impl FnOnce()) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = Options { level, is_console, outputs: vec![Output::File(file.path().to_owned())] };
        let sinks = log.outputs.iter().map(|output| Sink::open(output).unwrap()).collect();
        tracing::subscriber::with_default(Logger::new(&log, sinks), body);
        std::fs::read_to_string(file.path()).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_event_is_one_json_object_in_etcds_order() {
        let urls = ["http://127.0.0.1:1"];
        let lines = lines(Level::Info, false, || {
            let took = Duration::from_micros(1500);
            tracing::info!(logger = "raft", member_id = %"8e9e", took = ?took, is_leader = true, term = 2, urls = ?urls, "elected\n\"x\"");
        });
        assert_eq!(lines.len(), 1);
        let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        let names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["level", "ts", "logger", "caller", "msg", "member-id", "took", "is-leader", "term", "urls"]);
        assert_eq!((&value["level"], &value["msg"], &value["took"]), (&"info".into(), &"elected\n\"x\"".into(), &"1.5ms".into()));
        assert_eq!((&value["is-leader"], &value["term"], &value["urls"][0]), (&true.into(), &2.into(), &urls[0].into()));
        assert!(value["caller"].as_str().unwrap().starts_with("log.rs:"));
    }

    #[test]
    fn a_console_line_has_its_parts_between_tabs() {
        let lines = lines(Level::Info, true, || tracing::warn!(data_dir = "a.etcd", size = 3, "no room\nleft"));
        let parts: Vec<&str> = lines[0].split('\t').collect();
        assert_eq!((lines.len(), parts.len(), parts[1], parts[3]), (1, 5, "warn", "no room\\nleft"));
        assert_eq!(parts[4], r#"{"data-dir": "a.etcd", "size": 3}"#);
    }

    #[test]
    fn what_is_below_the_level_is_not_written() {
        let lines = lines(Level::Warn, false, || {
            tracing::debug!("a");
            tracing::info!("b");
            tracing::error!("c");
        });
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with(r#"{"level":"error","ts":""#) && lines[0].contains(r#""msg":"c""#));
    }

    #[test]
    fn libraries_are_heard_from_warnings_on() {
        let lines = lines(Level::Debug, false, || {
            tracing::info!(target: "h2::codec", "frame");
            tracing::warn!(target: "h2::codec", "oversized frame");
            tracing::debug!("ours");
        });
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn a_line_that_repeats_is_thinned_out() {
        let mut written = Written { sinks: Vec::new(), second: 0, counts: HashMap::new() };
        let callsite = tracing::callsite!(name: "repeated", kind: tracing::metadata::Kind::EVENT, fields: message);
        let identifier = || tracing::Callsite::metadata(callsite).callsite();
        assert_eq!((0..1000).filter(|_| written.admits(identifier(), 7)).count(), 109);
        assert!(written.admits(identifier(), 8));
    }

    #[test]
    fn time_is_written_to_the_microsecond() {
        assert_eq!(timestamp(Duration::from_micros(1_136_214_245_000_006)), "2006-01-02T15:04:05.000006Z");
    }

    #[test]
    fn an_output_that_cannot_be_opened_is_named() {
        let Err(error) = Sink::open(&Output::File("/nowhere/at/all/x.log".into())) else { panic!() };
        let words = go_words(&std::fs::File::open("/nowhere/at/all/x.log").unwrap_err());
        assert_eq!(error.to_string(), format!("open sink \"/nowhere/at/all/x.log\": open /nowhere/at/all/x.log: {words}"));
    }
}
