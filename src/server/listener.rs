//! Listening sockets and the dealing out of what they accept.
//!
//! Bound: open connections stay below the process's file limit, less what the member needs itself (GRP-12).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use super::connection::Services;
use crate::url::{Scheme, Url};

/// Files that a member needs besides its connections: as many as etcd keeps back, and what the state engine may hold open.
#[cfg(unix)]
const RESERVED_FILES: u64 = 150 + 256;

/// A runtime thread with what its connections are served with.
#[derive(Clone)]
pub struct Desk {
    pub handle: Handle,
    pub services: Arc<Services>,
}

/// A bound URL, not yet accepting.
pub enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

/// Raises the soft limit of open files to the hard one, as Go's runtime does. `None` is no limit.
#[cfg(unix)]
fn files_max() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// What a process may keep open for clients.
pub fn connections_max() -> usize {
    #[cfg(unix)]
    if let Some(files) = files_max() {
        return usize::try_from(files.saturating_sub(RESERVED_FILES).max(16)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
    }
    Semaphore::MAX_PERMITS
}

impl Listener {
    /// Binds what a URL names: an address, or the file of a unix socket (GRP-10, GRP-14).
    pub async fn bind(url: &Url, reuse_port: bool) -> io::Result<Listener> {
        if matches!(url.scheme, Scheme::Unix | Scheme::Unixs) {
            return Listener::bind_unix(&url.address);
        }
        let addresses: Vec<SocketAddr> = lookup_host(&url.address).await?.collect();
        // As Go does: `localhost` is its IPv4 address where it has one.
        let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        let address = *first.ok_or_else(|| io::Error::other("the name has no address"))?;
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        #[cfg(unix)]
        {
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(reuse_port)?;
        }
        #[cfg(windows)]
        if reuse_port {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "port reuse is not supported on Windows"));
        }
        if address.is_ipv6() {
            // As Go does: the unspecified IPv6 address serves IPv4 too.
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        let listener = TcpListener::from_std(socket.into())?;
        Ok(Listener::Tcp(listener))
    }

    #[cfg(unix)]
    fn bind_unix(name: &str) -> io::Result<Listener> {
        // A socket file left by an earlier process would refuse the name.
        match std::fs::remove_file(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Listener::Unix(tokio::net::UnixListener::bind(name)?))
    }

    #[cfg(not(unix))]
    fn bind_unix(_: &str) -> io::Result<Listener> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "unix sockets do not exist on this platform"))
    }

    /// Accepts until `stopping`, dealing connections to the desks in turn.
    pub async fn run(self, desks: Vec<Desk>, permits: Arc<Semaphore>, mut stopping: watch::Receiver<bool>) {
        let mut next = 0;
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                _ = stopping.wait_for(|&stop| stop) => return,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(error = %error, "a client connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    continue;
                }
            };
            let desk = &desks[next % desks.len()];
            next += 1;
            let (services, stopping) = (desk.services.clone(), stopping.clone());
            desk.handle.spawn(async move {
                match stream {
                    Accepted::Tcp(stream, peer) => match TcpStream::from_std(stream) {
                        Ok(stream) => services.serve(stream, peer.to_string().into(), stopping).await,
                        Err(error) => tracing::warn!(error = %error, "a client connection could not be taken over"),
                    },
                    #[cfg(unix)]
                    Accepted::Unix(stream) => match tokio::net::UnixStream::from_std(stream) {
                        // As Go writes the address of a client that has none.
                        Ok(stream) => services.serve(stream, "@".into(), stopping).await,
                        Err(error) => tracing::warn!(error = %error, "a client connection could not be taken over"),
                    },
                }
                drop(permit);
            });
        }
    }

    /// A connection detached from the accepting runtime.
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // A listener of our own leaves Nagle on: 40 ms per call (D10).
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream.into_std()?, peer))
            }
            #[cfg(unix)]
            Listener::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0.into_std()?)),
        }
    }
}

enum Accepted {
    Tcp(std::net::TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}
