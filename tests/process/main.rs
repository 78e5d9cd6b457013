//! The program as its surroundings see it: command line, exit code, pages, signals. Where etcd's own server can be asked, the
//! answers are compared with its answers.

#[path = "../harness/mod.rs"]
mod harness;

mod command_line;
mod log;
#[cfg(target_os = "linux")]
mod metrics;
mod oracle;
mod pages;
mod peers;
#[cfg(unix)]
mod stop;
