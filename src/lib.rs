//! etcd in Rust. The rooms, in import order: a room imports only from those above it that ARCHITECTURE.md lists for it.

#![forbid(unsafe_code)]

pub mod bbolt;
pub mod clock;
pub mod go_words;
#[cfg(feature = "server")]
pub mod log;
pub mod release;
#[cfg(feature = "server")]
pub mod url;
pub mod wire;

#[cfg(feature = "server")]
pub mod metrics;
#[cfg(feature = "server")]
pub mod storage;
#[cfg(feature = "server")]
pub mod wal;

#[cfg(feature = "server")]
pub mod lease;
#[cfg(feature = "server")]
pub mod membership;
#[cfg(feature = "server")]
pub mod mvcc;
#[cfg(feature = "server")]
pub mod state_machine;

#[cfg(feature = "server")]
pub mod consensus;
#[cfg(feature = "server")]
pub mod watch;

#[cfg(feature = "server")]
pub mod api;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod node;
#[cfg(feature = "server")]
pub mod server;

pub mod cli;
pub mod client;
pub mod ctl;
pub mod print;
#[cfg(feature = "server")]
pub mod utl;
