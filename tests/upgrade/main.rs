//! Data directories change hands between the real server and us.

#![cfg(unix)]

mod bbolt;
mod real_server;
mod wal;
