//! Answers as text: one answer in one of five formats, byte for byte what scripts written for etcd parse.
//!
//!   Answer ---+-- simple     lines for people and for `cut`
//!             +-- fields     `"Name" : value` lines
//!             +-- json       Go's encoding of the message (not the gateway's), one line
//!             +-- protobuf   the message's bytes, nothing else
//!             +-- table      a box, for answers that have columns
//!
//! Writes: the stream it is given; `simple` also stderr, for endpoints that failed. Reads: messages. Knows no client and no command.
//! An answer that a format cannot show is `Shown::Unsupported`: the caller turns it into exit code 4.

pub mod fields;
pub mod json;
pub mod protobuf;
pub mod simple;
pub mod table;
pub mod text;

use std::io::{self, Write};

use crate::wire::etcdserverpb::{
    AlarmResponse, DeleteRangeResponse, DowngradeResponse, HashKvResponse, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveResponse, MemberListResponse, MoveLeaderResponse, PutResponse, RangeResponse, StatusResponse,
    TxnResponse, WatchResponse,
};

/// One thing to show.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    Range(&'a RangeResponse),
    Put(&'a PutResponse),
    DeleteRange(&'a DeleteRangeResponse),
    Txn(&'a TxnResponse),
    Watch(&'a WatchResponse),
    LeaseGrant(&'a LeaseGrantResponse),
    LeaseRevoke {
        id: i64,
        response: &'a LeaseRevokeResponse,
    },
    LeaseKeepAlive(&'a LeaseKeepAliveResponse),
    LeaseTimeToLive {
        response: &'a LeaseTimeToLiveResponse,
        with_keys: bool,
    },
    LeaseLeases(&'a LeaseLeasesResponse),
    Alarm(&'a AlarmResponse),
    MemberList(&'a MemberListResponse),
    MoveLeader {
        from: u64,
        to: u64,
        response: &'a MoveLeaderResponse,
    },
    /// `verb`: what was asked for.
    Downgrade {
        verb: &'static str,
        response: &'a DowngradeResponse,
    },
    Health(&'a [Health]),
    Status(&'a [Status]),
    HashKv(&'a [HashKv]),
    Row(&'a [Column]),
}

/// One named value of an answer that is a single row of such.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name in a table, in the fields format, and in JSON.
    pub names: [&'static str; 3],
    pub value: Cell,
}

impl Column {
    pub fn new(names: [&'static str; 3], value: Cell) -> Column {
        Column { names, value }
    }
}

#[derive(Clone, Debug)]
pub enum Cell {
    /// Of the two formats for people (simple, table) in hexadecimal.
    Hash(u32),
    Number(i64),
    /// For people, rounded to a unit.
    Size(u64),
    Text(String),
}

/// Whether an endpoint could commit.
#[derive(Clone, Debug)]
pub struct Health {
    pub endpoint: String,
    pub is_healthy: bool,
    /// As Go writes a duration; empty if no call was made.
    pub took: String,
    pub error: String,
}

/// What an endpoint says of itself.
#[derive(Clone, Debug)]
pub struct Status {
    pub endpoint: String,
    pub response: StatusResponse,
}

/// The hash of an endpoint's key space.
#[derive(Clone, Debug)]
pub struct HashKv {
    pub endpoint: String,
    pub response: HashKvResponse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Simple,
    Fields,
    Json,
    Protobuf,
    Table,
}

impl Format {
    pub const NAMES: [&'static str; 5] = ["fields", "json", "protobuf", "simple", "table"];

    pub fn from_name(name: &str) -> Option<Format> {
        Some(match name {
            "simple" => Format::Simple,
            "fields" => Format::Fields,
            "json" => Format::Json,
            "protobuf" => Format::Protobuf,
            "table" => Format::Table,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Format::Simple => "simple",
            Format::Fields => "fields",
            Format::Json => "json",
            Format::Protobuf => "protobuf",
            Format::Table => "table",
        }
    }
}

/// How answers are shown.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub format: Format,
    /// Byte strings as `\xNN`, and ids in hexadecimal where the format allows it.
    pub hex: bool,
    /// Of a pair, the value only (simple format).
    pub value_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Shown {
    Yes,
    /// The format has no form for this answer; nothing was written.
    Unsupported,
}

/// Writes one answer to `out` and flushes it.
pub fn show(out: &mut dyn Write, style: Style, answer: Answer<'_>) -> io::Result<Shown> {
    let shown = match style.format {
        Format::Simple => simple::show(out, style, answer)?,
        Format::Fields => fields::show(out, style.hex, answer)?,
        Format::Json => json::show(out, style.hex, answer)?,
        Format::Protobuf => protobuf::show(out, answer)?,
        Format::Table => table::show(out, answer)?,
    };
    out.flush()?;
    Ok(shown)
}
