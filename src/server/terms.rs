//! The terms that a caller sets: until when its call may last (`grpc-timeout`), and that there must be a leader (`hasleader`,
//! WAT-23). Both end a call over its handler's head.
//!
//! ```text
//!   arrival --> late? no leader? --> handler --head--> body of a stream --> messages .. | trailers of the handler
//!                                      |                     |
//!                 deadline: status 4 --+---------------------+-- status 4, or 14 when the leader is lost
//! ```
//!
//! A handler that is dropped at its deadline takes nothing back: what it proposed may still be applied (PRP-4).
//! Does not end a stream whose client reads nothing: nobody polls it, and the client's own deadline resets it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::watch::Leadership;
use crate::wire::error::Error;

/// What a call's metadata ask of its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// On the server's clock.
    pub deadline: Option<Duration>,
    pub requires_leader: bool,
}

impl Terms {
    /// In grpc-go's words, which are not those of etcd's own error (ERR-11).
    pub fn late() -> Status {
        Status::new(Code::DeadlineExceeded, "context deadline exceeded")
    }

    /// Refuses at once what needs a leader while none is known.
    pub fn admit(&self, leadership: &watch::Receiver<Leadership>) -> Result<(), Status> {
        if self.requires_leader && *leadership.borrow() != Leadership::Known {
            return Err(Error::NoLeader.status());
        }
        Ok(())
    }

    /// The answer of a handler, or that it came too late.
    pub async fn hold<T>(&self, now: Duration, answer: impl Future<Output = T>) -> Result<T, Status> {
        match self.deadline {
            None => Ok(answer.await),
            Some(deadline) => tokio::time::timeout(deadline.saturating_sub(now), answer).await.map_err(|_| Terms::late()),
        }
    }

    /// The body of a stream, which ends by these terms if not by itself.
    pub fn bound(&self, now: Duration, body: Body, leadership: &watch::Receiver<Leadership>) -> Body {
        if self.deadline.is_none() && !self.requires_leader {
            return body;
        }
        let left = self.deadline.map(|deadline| deadline.saturating_sub(now));
        let mut leadership = self.requires_leader.then(|| leadership.clone());
        let end = async move {
            let late = async {
                match left {
                    Some(left) => tokio::time::sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            let lost = async {
                let is_lost = match &mut leadership {
                    // An error means that the member has ended, and the handler says so.
                    Some(leadership) => leadership.wait_for(|&known| known == Leadership::Lost).await.is_ok(),
                    None => false,
                };
                if !is_lost {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = late => Terms::late(),
                () = lost => Error::NoLeader.status(),
            }
        };
        Body::new(Bounded { body, end: Some(Box::pin(end)) })
    }
}

struct Bounded {
    body: Body,
    /// None once the body has ended.
    end: Option<Pin<Box<dyn Future<Output = Status> + Send>>>,
}

impl hyper::body::Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(end) = self.end.as_mut() else { return Poll::Ready(None) };
        // First, or a stream that always has something to say would outlive its deadline.
        if let Poll::Ready(status) = end.as_mut().poll(cx) {
            // The handler ends here, not when the client has taken note.
            (self.end, self.body) = (None, Body::empty());
            let mut trailers = status.into_http::<Body>().into_parts().0.headers;
            trailers.remove(http::header::CONTENT_TYPE);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.as_ref().is_none_or(|frame| frame.as_ref().map_or(true, Frame::is_trailers)) {
            self.end = None;
        }
        Poll::Ready(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Body as _;
    const DEADLINE: Terms = Terms { deadline: Some(Duration::from_secs(7)), requires_leader: false };
    const LEADER: Terms = Terms { deadline: None, requires_leader: true };

    /// A body that says one thing, and then ends or says nothing more.
    struct Once {
        says: Option<Bytes>,
        ends: bool,
    }

    impl hyper::body::Body for Once {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            match self.says.take() {
                Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    fn once(ends: bool) -> Body {
        Body::new(Once { says: Some(Bytes::from_static(b"one")), ends })
    }

    async fn next(body: &mut Body) -> Option<Frame<Bytes>> {
        std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await.map(|frame| frame.expect("no error"))
    }

    fn status(frame: Frame<Bytes>) -> (Code, String) {
        let status = Status::from_header_map(frame.trailers_ref().expect("trailers")).expect("a status");
        (status.code(), status.message().to_owned())
    }

    #[tokio::test]
    async fn a_stream_ends_at_its_deadline() {
        let (_leads, leadership) = watch::channel(Leadership::Known);
        let began = std::time::Instant::now();
        let mut body = DEADLINE.bound(Duration::from_millis(6_980), once(false), &leadership);
        assert!(next(&mut body).await.expect("data").is_data());
        let end = next(&mut body).await.expect("trailers");
        assert_eq!(status(end), (Code::DeadlineExceeded, "context deadline exceeded".into()));
        assert!(began.elapsed() >= Duration::from_millis(20));
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test]
    async fn a_stream_that_needs_a_leader_ends_when_the_leader_is_lost() {
        let (leads, leadership) = watch::channel(Leadership::Known);
        let mut body = LEADER.bound(Duration::ZERO, once(false), &leadership);
        leads.send_replace(Leadership::Missing);
        assert!(next(&mut body).await.expect("data").is_data(), "a leader that is missing for a moment ends nothing");
        leads.send_replace(Leadership::Lost);
        let end = next(&mut body).await.expect("trailers");
        assert_eq!(status(end), (Code::Unavailable, "etcdserver: no leader".into()));
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test]
    async fn a_stream_that_ends_by_itself_ends_as_it_wants() {
        let (leads, leadership) = watch::channel(Leadership::Known);
        let terms = Terms { requires_leader: true, ..DEADLINE };
        let mut body = terms.bound(Duration::ZERO, once(true), &leadership);
        assert!(next(&mut body).await.expect("data").is_data());
        assert!(next(&mut body).await.is_none());
        leads.send_replace(Leadership::Lost);
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test]
    async fn a_handler_is_left_at_the_deadline() {
        let hold = |terms: Terms| async move { terms.hold(Duration::from_millis(6_980), std::future::pending::<()>()).await };
        assert_eq!(hold(DEADLINE).await.expect_err("late").code(), Code::DeadlineExceeded);
        assert!(tokio::time::timeout(Duration::from_millis(40), hold(LEADER)).await.is_err(), "no deadline, no end");
        assert_eq!(DEADLINE.hold(Duration::ZERO, std::future::ready(1)).await.expect("in time"), 1);
    }

    #[test]
    fn what_needs_a_leader_is_refused_without_one() {
        for (known, is_admitted) in [(Leadership::Known, true), (Leadership::Missing, false), (Leadership::Lost, false)] {
            let (_leads, leadership) = watch::channel(known);
            assert_eq!(LEADER.admit(&leadership).is_ok(), is_admitted, "{known:?}");
            assert!(DEADLINE.admit(&leadership).is_ok(), "{known:?}");
        }
    }
}
