//! Database files between the real bbolt and us: what it made we read, what we wrote it opens, checks and changes.
//!
//! ```text
//!   go build tests/upgrade/bbolt/go ──► bolt make ──► file ──► Database: check, list  == bolt list
//!                                       Writer    ──► file ──► bolt list, bolt work, bbolt check
//! ```

mod changes_hands;
mod commands;
mod real;
mod server;
