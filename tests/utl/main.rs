//! etcdutl beside the real one, on the same files; and data directories that it makes, under a server.
//!
//! ```text
//!   real server --Snapshot--> file --+--> etcdutl (ours) --> output, data dir --> our server   --+
//!                                    +--> etcdutl (real) --> output, data dir --> real server  --+--> the same
//! ```

#![cfg(unix)]

#[path = "../harness/mod.rs"]
mod harness;

mod data_dir;
mod facts;
mod restore;
mod snapshot;
mod tool;
mod usage;
