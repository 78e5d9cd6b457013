//! Being told to stop, and telling the service manager how it went (CFG-8).
//!
//! ```text
//!   Stop::listen ... ready()  ...  stop.requested().await ... drain ... request.leave()
//! ```
//!
//! Writes: the service manager's socket. Reads: signals.
//! This and `storage` are the only rooms with code that depends on the platform.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{Request, Stop, ready};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{Request, Stop, ready};
