//! The server: parse, run, exit code.

use std::process::ExitCode;

use etcd::config::{self, Outcome};
use etcd::server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let env: Vec<(String, String)> = std::env::vars().collect();
    let mut config = match config::parse(&words, &env) {
        Outcome::Run(config) => config,
        Outcome::Print { stdout, stderr, code } => {
            print!("{stdout}");
            eprint!("{stderr}");
            return ExitCode::from(code);
        }
        Outcome::Refuse(reason) => {
            server::log::refuse(&reason);
            return ExitCode::FAILURE;
        }
    };
    config.command_line = std::env::args().collect();
    server::main(&config)
}
