//! What happens when the disk, the system or the operator does not play along: full volumes, failing system calls, kills in the
//! middle of a write, ports and directories that others hold, and the orderly stop.
//!
//! Everything that was acknowledged must be there afterwards. Mounts and injected errors need root and Linux.

#[path = "../harness/mod.rs"]
mod harness;

#[cfg(target_os = "linux")]
mod calls;
#[cfg(unix)]
mod member;
#[cfg(unix)]
mod quota;
#[cfg(target_os = "linux")]
mod space;
#[cfg(unix)]
mod start;
#[cfg(unix)]
mod stop;
#[cfg(target_os = "linux")]
mod volume;
