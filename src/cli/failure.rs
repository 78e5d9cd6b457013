//! How a command fails: a line on stderr and an exit code that scripts tell apart (LOG-8, LOG-11).
//!
//! Writes: stderr. Reads: nothing.

use std::{fmt::Display, io, process::ExitCode};

/// A command's end that is not success.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    /// None: everything has been said.
    message: Option<String>,
    /// What follows the message, as it is: usage.
    advice: String,
}

impl Failure {
    fn new(code: u8, message: impl Display) -> Failure {
        Failure { code, message: Some(message.to_string()), advice: String::new() }
    }

    /// A refused or unanswered request, a command line that cannot be read.
    pub fn general(message: impl Display) -> Failure {
        Failure::new(1, message)
    }

    pub fn bad_connection(message: impl Display) -> Failure {
        Failure::new(2, message)
    }

    /// What stdin gave `txn` or `watch -i`.
    pub fn invalid_input(message: impl Display) -> Failure {
        Failure::new(3, message)
    }

    /// A flag with a value that it does not have.
    pub fn bad_feature(message: impl Display) -> Failure {
        Failure::new(4, message)
    }

    pub fn interrupted(message: impl Display) -> Failure {
        Failure::new(5, message)
    }

    pub fn bad_args(message: impl Display) -> Failure {
        Failure::new(128, message)
    }

    /// A command that was run in between ended with this code.
    pub fn of_command(code: u8, message: impl Display) -> Failure {
        Failure::new(code, message)
    }

    /// The failure has been told already.
    pub fn told() -> Failure {
        Failure { code: 1, message: None, advice: String::new() }
    }

    pub fn with_advice(mut self, advice: impl Into<String>) -> Failure {
        self.advice = advice.into();
        self
    }

    /// What went wrong, for a failure of another kind.
    pub fn into_message(self) -> String {
        self.message.unwrap_or_default()
    }

    pub fn report(self) -> ExitCode {
        if let Some(message) = &self.message {
            eprintln!("Error: {message}");
        }
        eprint!("{}", self.advice);
        ExitCode::from(self.code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            // Whoever read the output has enough.
            io::ErrorKind::BrokenPipe => Failure::told(),
            _ => Failure::general(format!("cannot write the output: {error}")),
        }
    }
}
