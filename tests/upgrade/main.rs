//! Data directories change hands between the real server and us.

#![cfg(unix)]

mod bbolt;
#[path = "../harness/mod.rs"]
mod harness;

mod go_dir;
mod real_server;
mod refusals;
mod steps;
mod takeover;
mod wal;
