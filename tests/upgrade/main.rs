//! Data directories change hands between the real server and us.

#![cfg(unix)]

mod real_server;
mod wal;
