//! Ctrl-C, Ctrl-Break, and the end of the console or of the session.

use std::io;
use std::process::ExitCode;

use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};

/// Catches what asks for an orderly stop. From `listen` on, it no longer ends the process by itself.
pub struct Stop {
    interrupt: CtrlC,
    stop: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

/// The event that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    name: &'static str,
}

impl Stop {
    /// Must be called inside a runtime; the future then works on any of its threads.
    pub fn listen() -> io::Result<Stop> {
        Ok(Stop { interrupt: ctrl_c()?, stop: ctrl_break()?, close: ctrl_close()?, shutdown: ctrl_shutdown()? })
    }

    /// Resolves at the first of the events. Further ones change nothing: the stop is already under way.
    pub async fn requested(&mut self) -> Request {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "interrupt",
            _ = self.stop.recv() => "break",
            _ = self.close.recv() => "close",
            _ = self.shutdown.recv() => "shutdown",
        };
        Request { name }
    }
}

impl Request {
    /// As logs name it.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The exit code of a stop that was asked for; there is no signal to end by here.
    pub fn leave(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}

/// There is no service manager to tell here.
pub fn ready() -> io::Result<bool> {
    Ok(false)
}
