//! To be filled.

#[cfg(feature = "server")]
pub mod watch;
