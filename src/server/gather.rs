//! A socket that gathers what is written to it while its connection is polled, and sends it in one piece afterwards.
//!
//! ```text
//!   h2: HEADERS, DATA, HEADERS, DATA, ...   one small write each
//!        |  poll_write(_vectored)
//!        v
//!   gathered bytes  ---- after the poll, or when there are many: one system call ----> socket
//! ```
//!
//! h2 flushes after every DATA frame of 256 bytes or more, so that ten answers on one connection would cost ten system calls;
//! gathered, they cost one. Whoever polls the connection must call `Socket::send` after each poll: a flush only gathers.
//! Bound: 64 KiB gathered a connection, and only while the socket takes no more; a spare buffer a thread.
//! Counts the bytes in both directions.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is gathered at most.
const GATHER_MAX: usize = 64 << 10;
/// Pieces from here on are not copied: they go out behind what was gathered, in the same system call.
const COPY_MAX: usize = 8 << 10;
/// Slices of one vectored write.
const SLICES_MAX: usize = 16;

/// Bytes to and from clients, all connections together. Counted at the socket: a read or write costs one relaxed addition.
#[derive(Debug, Default)]
pub struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

thread_local! {
    /// An empty buffer to gather in, so that idle connections hold none.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Gathered<S> {
    stream: S,
    bytes: Vec<u8>,
    /// How many of `bytes` are sent.
    sent: usize,
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    fn keep(&mut self, slices: &[IoSlice<'_>]) {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.take();
        }
        for slice in slices {
            self.bytes.extend_from_slice(slice);
        }
    }

    /// `written` bytes of what was gathered are gone.
    fn forget(&mut self, written: usize) {
        self.sent += written;
        if self.is_empty() {
            self.sent = 0;
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            SPARE.set(bytes);
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.bytes[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.forget(written);
        }
        Poll::Ready(Ok(()))
    }

    /// What was gathered and then the slices, uncopied. Answers with what was taken of the slices.
    fn poll_send_with(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let before = self.bytes.len() - self.sent;
            let mut all = [IoSlice::new(&[]); SLICES_MAX];
            all[0] = IoSlice::new(&self.bytes[self.sent..]);
            let count = slices.len().min(SLICES_MAX - 1);
            all[1..=count].copy_from_slice(&slices[..count]);
            let from = usize::from(before == 0);
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &all[from..=count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if before > 0 {
                self.forget(written.min(before));
            }
            if written > before {
                return Poll::Ready(Ok(written - before));
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        if total > COPY_MAX {
            return self.poll_send_with(cx, slices);
        }
        if self.bytes.len() + total > GATHER_MAX {
            ready!(self.poll_send(cx))?;
        }
        self.keep(slices);
        Poll::Ready(Ok(total))
    }
}

/// The two ends share it: the connection reads and writes, whoever polls the connection sends.
pub struct Socket<S> {
    gathered: Arc<Mutex<Gathered<S>>>,
    traffic: Arc<Traffic>,
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// The end for the connection and the end for who polls it.
    pub fn pair(stream: S, traffic: Arc<Traffic>) -> (Socket<S>, Socket<S>) {
        let gathered = Arc::new(Mutex::new(Gathered { stream, bytes: Vec::new(), sent: 0 }));
        (Socket { gathered: gathered.clone(), traffic: traffic.clone() }, Socket { gathered, traffic })
    }

    fn lock(&self) -> MutexGuard<'_, Gathered<S>> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what was gathered; pending while the socket takes no more.
    pub fn send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_send(cx)
    }

    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.traffic.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        written
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.lock().stream).poll_read(cx, buffer);
        self.traffic.received.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.lock().poll_write(cx, &[IoSlice::new(bytes)]);
        self.count(written)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = self.lock().poll_write(cx, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = self.lock();
        ready!(gathered.poll_send(cx))?;
        Pin::new(&mut gathered.stream).poll_shutdown(cx)
    }
}

/// Polls a connection whose end of the socket only gathers, and sends what it wrote after each poll. May be dropped and called
/// again: `has_ended` remembers that the connection must not be polled any more, though its last bytes may be on their way.
/// How the connection ended is the peer's business: reset, bad preface, time-out.
pub async fn drive<F, S>(connection: &mut Pin<&mut F>, socket: &Socket<S>, has_ended: &mut bool)
where
    F: Future,
    S: AsyncWrite + Unpin,
{
    std::future::poll_fn(|cx| {
        if !*has_ended {
            *has_ended = connection.as_mut().poll(cx).is_ready();
        }
        match socket.send(cx) {
            Poll::Ready(Ok(())) if !*has_ended => Poll::Pending,
            // Nobody reads any more, so that nothing is worth being computed either.
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn waker() -> Context<'static> {
        Context::from_waker(std::task::Waker::noop())
    }

    #[tokio::test]
    async fn small_writes_leave_together_and_only_when_sent() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut inner, outer) = Socket::pair(near, Arc::default());
        inner.write_all(b"one ").await.expect("gathered");
        inner.write_all(b"two").await.expect("gathered");
        inner.flush().await.expect("a flush only gathers");
        let mut bytes = [0; 16];
        let mut read = ReadBuf::new(&mut bytes);
        assert!(Pin::new(&mut far).poll_read(&mut waker(), &mut read).is_pending(), "nothing left before `send`");
        assert!(outer.send(&mut waker()).is_ready());
        assert_eq!(far.read(&mut bytes).await.expect("both writes"), 7);
        assert_eq!(&bytes[..7], b"one two");
        assert_eq!(outer.traffic.sent(), 7);
    }

    #[tokio::test]
    async fn large_pieces_keep_their_order_behind_small_ones() {
        let (near, mut far) = tokio::io::duplex(1000);
        let (mut inner, outer) = Socket::pair(near, Arc::default());
        let mut expected = Vec::new();
        let writes: Vec<Vec<u8>> = (0..200usize).map(|n| vec![n as u8; [3, 700, 20_000, 9, 70_000][n % 5]]).collect();
        writes.iter().for_each(|piece| expected.extend_from_slice(piece));
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.map(|_| all)
        });
        for piece in &writes {
            inner.write_all(piece).await.expect("written");
        }
        std::future::poll_fn(|cx| outer.send(cx)).await.expect("sent");
        inner.shutdown().await.expect("shut down");
        drop((inner, outer));
        let got = reader.await.expect("the reader ends").expect("read");
        assert!(got == expected, "{} bytes came, {} were written", got.len(), expected.len());
    }

    #[tokio::test]
    async fn a_socket_that_takes_no_more_holds_the_writer_up() {
        let (near, far) = tokio::io::duplex(16);
        let (mut inner, outer) = Socket::pair(near, Arc::default());
        let piece = vec![7; 4096];
        let mut taken = 0;
        while Pin::new(&mut inner).poll_write(&mut waker(), &piece).is_ready() {
            taken += piece.len();
            assert!(taken <= GATHER_MAX + 16, "more was taken than may be gathered");
        }
        assert!(outer.send(&mut waker()).is_pending());
        drop(far);
    }
}
