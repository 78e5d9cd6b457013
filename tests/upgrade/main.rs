//! Data directories change hands between the real server and us.

#![cfg(unix)]

mod bbolt;
mod real_server;
#[path = "../harness/runner.rs"]
mod runner;
mod wal;
