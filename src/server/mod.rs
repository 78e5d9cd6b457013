//! To be filled.

pub mod log;
pub mod signal;
