//! The server: parse, run, exit code.

use std::process::ExitCode;

use etcd::config::{self, Outcome};
use etcd::{log, server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    // A variable that is no text is none of ours.
    let env =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect::<Vec<_>>();
    let mut config = match config::parse(&words, &env) {
        Outcome::Run(config) => config,
        Outcome::Print { stdout, stderr, code } => {
            print!("{stdout}");
            eprint!("{stderr}");
            return ExitCode::from(code);
        }
        Outcome::Refuse(reason) => {
            log::refuse(&reason);
            return ExitCode::FAILURE;
        }
    };
    config.command_line = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    server::main(&config)
}
