//! What etcd's tools have in common: how a command line is read, refused, explained and completed, and how a command fails.
//!
//! ```text
//!   arguments --> Tool::parse --+--> the command, and where its global flags are found
//!                               +--> help, an answer on stdout
//!                               +--> Failure --> stderr, exit code
//! ```
//!
//! Writes: stderr for a failure. Reads: arguments. Knows no command: a program hands in its own as a `Tool`.
//! What a script may parse is etcd's, byte for byte; help texts are our own.

mod completion;
mod failure;
mod flag;
pub mod number;
mod tool;
mod version;

pub use self::{
    completion::Completion,
    failure::Failure,
    flag::{Flag, Kind},
    tool::{Parsed, Tool, first_line, parse_line},
    version::Version,
};
