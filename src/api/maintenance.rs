//! The Maintenance service: alarms, status, hashes, defragmentation, snapshots.

use std::sync::Arc;

use http::HeaderMap;
use http_body_util::StreamBody;
use hyper::body::Frame;
use parking_lot::Mutex;
use tonic::body::Body;
use tonic::{Code, Request, Response, Status};

use super::validate;
use crate::mvcc::HashError;
use crate::node::{Messages, Seat};
use crate::state_machine::Response as Applied;
use crate::wire::error::Error;
use crate::wire::etcdserverpb::{
    AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse, DowngradeInfo, DowngradeRequest, DowngradeResponse,
    HashKvRequest, HashKvResponse, HashRequest, HashResponse, InternalRaftRequest, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest,
    SnapshotResponse, StatusRequest, StatusResponse, alarm_request::AlarmAction, downgrade_request::DowngradeAction,
};
use crate::wire::membershippb::DowngradeInfoSetRequest;
use crate::wire::service::etcd::maintenance_server::Maintenance;

/// The body of a response whose messages were made elsewhere; among its extensions.
#[derive(Clone)]
pub struct Encoded(Arc<Mutex<Option<Body>>>);

impl Encoded {
    fn new(body: Body) -> Encoded {
        Encoded(Arc::new(Mutex::new(Some(body))))
    }

    /// None after the first time.
    pub fn take(&self) -> Option<Body> {
        self.0.lock().take()
    }
}

/// The messages and how they end.
fn body(mut messages: Messages, stopping: impl Future<Output = ()> + Send + 'static) -> Body {
    Body::new(StreamBody::new(async_stream::stream! {
        let mut stopping = std::pin::pin!(stopping);
        let end = loop {
            let next = tokio::select! {
                biased;
                next = messages.next() => next,
                // A stream that ended without a word would pass for a whole one (GRP-11).
                () = &mut stopping => break Error::Stopped.status(),
            };
            match next {
                Some(Ok(block)) => yield Ok(Frame::data(block)),
                Some(Err(error)) => break Status::unknown(error),
                None => break Status::new(Code::Ok, ""),
            }
        };
        let mut trailers = HeaderMap::new();
        yield end.add_header(&mut trailers).map(|()| Frame::trailers(trailers));
    }))
}

#[derive(Clone)]
pub struct MaintenanceService {
    pub seat: Seat,
}

fn unexpected() -> Status {
    Status::internal("the state machine answered with another kind of response")
}

/// Runs what reads the whole store where no connection waits behind it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopped.status())
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        let request = request.into_inner();
        // etcd proposes it, and every member that applies it dies.
        if AlarmAction::try_from(request.action).is_err() {
            return Err(Status::invalid_argument(format!("etcdserver: unknown alarm action {}", request.action)));
        }
        // The same of an alarm that there is not.
        if request.action == AlarmAction::Activate as i32 && AlarmType::try_from(request.alarm).is_err() {
            return Err(Status::invalid_argument(format!("etcdserver: unknown alarm type {}", request.alarm)));
        }
        let command = InternalRaftRequest { alarm: Some(request), ..Default::default() };
        let Applied::Alarm(mut response) = self.seat.propose(command).await? else { return Err(unexpected()) };
        self.seat.node.fill(&mut response.header);
        Ok(Response::new(response))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let node = &self.seat.node;
        let raft = node.pipeline.marks.status();
        let sizes = node.reader.sizes();
        let downgrade = node.cluster.downgrade();
        let mut errors = Vec::new();
        if raft.leader == 0 {
            errors.push(Error::NoLeader.text().to_owned());
        }
        errors.extend(node.alarms.list(AlarmType::None as i32).into_iter().map(|a| {
            let kind = AlarmType::try_from(a.alarm).map_or("NONE", |kind| kind.as_str_name());
            format!("memberID:{} alarm:{kind}", a.member_id)
        }));
        Ok(Response::new(StatusResponse {
            header: Some(node.header(node.reader.revision())),
            version: crate::release::VERSION.into(),
            db_size: sizes.db_size as i64,
            db_size_in_use: sizes.db_size_in_use as i64,
            db_size_quota: node.quota().bytes().map_or(node.options.quota_bytes, |bytes| bytes as i64),
            leader: raft.leader,
            raft_index: raft.commit,
            raft_term: raft.term,
            raft_applied_index: node.pipeline.marks.applied(),
            errors,
            is_learner: false,
            storage_version: node.storage_version().unwrap_or_default(),
            downgrade_info: Some(DowngradeInfo { enabled: downgrade.enabled, target_version: downgrade.target }),
        }))
    }

    async fn defragment(&self, _: Request<DefragmentRequest>) -> Result<Response<DefragmentResponse>, Status> {
        let node = self.seat.node.clone();
        tracing::info!("starting defragment");
        blocking(move || node.defragment()).await?.map_err(|e| Status::unknown(e.to_string()))?;
        tracing::info!("finished defragment");
        // Quirk: HDR-4, no header.
        Ok(Response::new(DefragmentResponse { header: None }))
    }

    async fn hash(&self, _: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        let node = self.seat.node.clone();
        let hash = blocking(move || node.hash()).await?.map_err(|e| Status::unknown(e.to_string()))?;
        Ok(Response::new(HashResponse { header: Some(self.seat.node.header(self.seat.node.reader.revision())), hash }))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        let (node, revision) = (self.seat.node.clone(), request.into_inner().revision);
        match blocking(move || node.hash_kv(revision)).await? {
            Ok(done) => Ok(Response::new(HashKvResponse {
                header: Some(self.seat.node.header(done.current_revision)),
                hash: done.hash,
                compact_revision: done.compact_revision,
                hash_revision: done.revision,
            })),
            Err(HashError::Compacted) => Err(Error::Compacted.status()),
            Err(HashError::FutureRev) => Err(Error::FutureRev.status()),
            Err(HashError::Storage(error)) => Err(Status::unknown(error.to_string())),
        }
    }

    type SnapshotStream = tokio_stream::Empty<Result<SnapshotResponse, Status>>;

    async fn snapshot(&self, _: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        let messages = self.seat.node.snapshot()?;
        // Its messages are made already: the server sends them in place of this stream.
        let mut response = Response::new(tokio_stream::empty());
        response.extensions_mut().insert(Encoded::new(body(messages, self.seat.node.stopping())));
        Ok(response)
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Result<Response<MoveLeaderResponse>, Status> {
        // A group of one has nobody to move to; its leader may be named (RFT-7).
        let status = self.seat.node.pipeline.marks.status();
        if request.into_inner().target_id == status.leader && status.leader != 0 {
            return Ok(Response::new(MoveLeaderResponse { header: None }));
        }
        Err(Error::BadLeaderTransferee.status())
    }

    /// VSN-4, VSN-5. Enabling what may be enabled is not built yet.
    async fn downgrade(&self, request: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        let request = request.into_inner();
        let node = &self.seat.node;
        match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate) => validate::downgrade(&request.version, &node.cluster)?,
            Ok(DowngradeAction::Enable) => {
                validate::downgrade(&request.version, &node.cluster)?;
                return Err(Status::unimplemented("downgrading a cluster is not built yet"));
            }
            // One that is not under way is cancelled all the same, in etcd too.
            Ok(DowngradeAction::Cancel) if node.cluster.downgrade().enabled => {
                let none = DowngradeInfoSetRequest { enabled: false, ..Default::default() };
                self.seat.propose(InternalRaftRequest { downgrade_info_set: Some(none), ..Default::default() }).await?;
            }
            Ok(DowngradeAction::Cancel) => {}
            Err(_) => return Err(Status::unknown("etcdserver: unknown method")),
        }
        let version = node.cluster.version().ok_or(Error::ClusterVersionUnavailable)?;
        let header = Some(node.header(node.reader.revision()));
        Ok(Response::new(DowngradeResponse { header, version: format!("{}.{}", version.major, version.minor) }))
    }
}
