//! The program as its surroundings see it: command line, exit code, pages, signals. Where etcd's own server can be asked, the
//! answers are compared with its answers.

mod command_line;
mod log;
mod oracle;
mod pages;
#[cfg(unix)]
mod stop;
