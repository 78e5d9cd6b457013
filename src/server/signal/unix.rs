//! SIGTERM and SIGINT, and systemd's notification socket.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Catches the signals that ask for an orderly stop. From `listen` on, they no longer end the process by themselves.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

/// The signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    number: i32,
}

impl Stop {
    /// Must be called inside a runtime; the future then works on any of its threads.
    pub fn listen() -> io::Result<Stop> {
        Ok(Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Resolves at the first of the signals. Further ones change nothing: the stop is already under way.
    pub async fn requested(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request { number: SIGTERM },
            _ = self.interrupt.recv() => Request { number: SIGINT },
        }
    }
}

impl Request {
    /// As logs name it.
    pub fn name(self) -> &'static str {
        if self.number == SIGINT { "interrupt" } else { "terminated" }
    }

    /// Ends the process the way the signal would have, so that whoever waits for it sees 143 or 130. The first process of a
    /// container is never ended by a signal it does not handle, so that one returns success.
    pub fn leave(self) -> ExitCode {
        if std::process::id() == 1 {
            return ExitCode::SUCCESS;
        }
        let _ = signal_hook::low_level::emulate_default_handler(self.number);
        ExitCode::from(u8::try_from(128 + self.number).unwrap_or(1))
    }
}

/// Tells systemd that the service is up, where it asked to be told. Returns whether it did.
pub fn ready() -> io::Result<bool> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(path) => notify(path.as_bytes(), b"READY=1").map(|()| true),
        None => Ok(false),
    }
}

/// A path, or with a leading `@` a name in the abstract namespace of Linux.
fn notify(path: &[u8], message: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = path.strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return socket.send_to_addr(message, &address).map(drop);
    }
    socket.send_to(message, std::path::Path::new(std::ffi::OsStr::from_bytes(path))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_is_told_once_and_in_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        notify(path.as_os_str().as_bytes(), b"READY=1").unwrap();
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
        assert!(notify(b"/nowhere/at/all", b"READY=1").is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_abstract_socket_is_found_by_its_name() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("etcd-notify-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        notify(format!("@{name}").as_bytes(), b"READY=1").unwrap();
        let mut buffer = [0; 64];
        assert_eq!(manager.recv(&mut buffer).unwrap(), 7);
    }

    #[test]
    fn a_stop_is_requested_by_either_signal() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut stop = Stop::listen().unwrap();
            signal_hook::low_level::raise(SIGTERM).unwrap();
            assert_eq!(stop.requested().await.name(), "terminated");
            signal_hook::low_level::raise(SIGINT).unwrap();
            assert_eq!(stop.requested().await.name(), "interrupt");
        });
    }
}
