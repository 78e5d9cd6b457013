//! The wish of the terminal, or of whoever started the command, that it ends.
//!
//! Writes: nothing. Reads: SIGINT and SIGTERM; elsewhere Ctrl-C.

use std::io;

/// Listens from its making on, so that no wish is lost between two waits.
#[cfg(unix)]
pub struct Interrupt {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Interrupt {
    pub fn listen() -> io::Result<Interrupt> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Interrupt { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub async fn wished(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
pub struct Interrupt(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Interrupt {
    pub fn listen() -> io::Result<Interrupt> {
        Ok(Interrupt(tokio::signal::windows::ctrl_c()?))
    }

    pub async fn wished(&mut self) {
        self.0.recv().await;
    }
}
