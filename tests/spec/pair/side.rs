//! One of the two servers: performs an operation and tells its answer in a form that can be compared.
//!
//! ```text
//!   Op ──► request with this side's own ids ──► server ──► response ──► ids, terms, clocks mapped ──► text
//! ```
//!
//! Mapped, since two healthy servers differ in them: cluster and member ids, terms, URLs, generated lease ids, remaining TTLs,
//! the order of equal targets in a sorted range (RNG-10) and of attached keys and leases (LSE-18). Nothing else is.

use std::{fmt::Debug, path::Path};

use etcd::wire::etcdserverpb::*;
use tokio_stream::StreamExt as _;
use tonic::Status;

use super::{
    op::{LeaseRef, Op},
    ties,
};
use crate::harness::{Clients, Server};

/// Where the ids of generated leases are mapped to: a range that no operation uses.
const GENERATED: i64 = 1 << 60;

pub struct Side {
    pub server: Server,
    pub clients: Clients,
    cluster_id: u64,
    member_id: u64,
    term: u64,
    generated: Vec<i64>,
    /// Revisions of the compactions so far.
    compactions: Vec<i64>,
}

/// What a server said, ready to be compared, and the header's revision for the generator.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub text: String,
    pub revision: Option<i64>,
    pub is_ok: bool,
}

/// Responses whose header is mapped.
trait Headed: Debug {
    fn header(&mut self) -> &mut Option<ResponseHeader>;
}

macro_rules! headed {
    ($($name:ident)*) => { $(impl Headed for $name { fn header(&mut self) -> &mut Option<ResponseHeader> { &mut self.header } })* };
}

headed! { RangeResponse PutResponse DeleteRangeResponse TxnResponse CompactionResponse HashKvResponse LeaseGrantResponse
LeaseRevokeResponse LeaseKeepAliveResponse LeaseTimeToLiveResponse LeaseLeasesResponse MemberListResponse StatusResponse AlarmResponse
MemberAddResponse MemberRemoveResponse MemberUpdateResponse MemberPromoteResponse MoveLeaderResponse DowngradeResponse }

impl Side {
    pub async fn start(program: &Path, flags: &[&str]) -> Side {
        let server = Server::start(program, flags).await;
        let mut clients = server.clients();
        let status = clients.maintenance.status(StatusRequest {}).await.expect("status").into_inner();
        let header = status.header.expect("a header");
        let (cluster_id, member_id) = (header.cluster_id, header.member_id);
        assert!(cluster_id != 0 && member_id != 0, "ids are not 0: {header:?}");
        Side { server, clients, cluster_id, member_id, term: 0, generated: Vec::new(), compactions: Vec::new() }
    }

    /// Stops the server and starts it again on its data.
    pub async fn restart(&mut self) {
        let status = self.server.stop().await;
        // Go's server ends by the signal itself; a server that exits with 0 has stopped as well.
        assert!(
            status.code().is_none_or(|code| code == 0 || code == 143),
            "it did not stop cleanly: {status:?}\n{}",
            self.server.log_tail()
        );
        self.server.start_again().await;
        self.clients = self.server.clients();
    }

    pub async fn perform(&mut self, op: &Op) -> Answer {
        match op.clone() {
            Op::Range(request) => {
                let answer = self.clients.kv.range(request.clone()).await.map(|response| {
                    let mut response = response.into_inner();
                    ties::untie(&request, &mut response);
                    response
                });
                self.told(answer)
            }
            Op::RangeStream(request) => {
                let answer = self.range_stream(request).await;
                self.told(answer)
            }
            Op::Put(request) => {
                let answer = self.clients.kv.put(request).await;
                self.unary(answer)
            }
            Op::DeleteRange(request) => {
                let answer = self.clients.kv.delete_range(request).await;
                self.unary(answer)
            }
            Op::Txn(request) => {
                let answer = self.clients.kv.txn(request.clone()).await.map(|response| {
                    let mut response = response.into_inner();
                    ties::untie_txn(&request, &mut response);
                    response
                });
                self.told(answer)
            }
            Op::Compact(request) => {
                let answer = self.clients.kv.compact(request).await;
                if answer.is_ok() {
                    self.compactions.push(request.revision);
                }
                self.unary(answer)
            }
            Op::HashKv(revision) => self.hash_kv(revision).await,
            Op::Grant(..) | Op::Revoke(_) | Op::TimeToLive(..) | Op::KeepAlive(_) | Op::Leases => self.lease(op).await,
            Op::Members { .. }
            | Op::MemberAdd(_)
            | Op::MemberRemove(_)
            | Op::MemberUpdate(..)
            | Op::MemberPromote(_)
            | Op::MoveLeader(_) => self.cluster(op).await,
            Op::Status => self.status().await,
            Op::Alarm(request) => {
                let answer = self.clients.maintenance.alarm(request).await;
                self.unary(answer)
            }
            Op::Downgrade(request) => {
                let answer = self.clients.maintenance.downgrade(request).await;
                self.unary(answer)
            }
            Op::OpenStream(_) | Op::CloseStream(_) | Op::Watch(..) | Op::Cancel(..) | Op::Sync => {
                unreachable!("the watch side performs these")
            }
        }
    }

    async fn range_stream(&mut self, request: RangeRequest) -> Result<RangeResponse, Status> {
        let mut parts = self.clients.kv.range_stream(request).await?.into_inner();
        let (mut whole, mut is_last) = (RangeResponse::default(), false);
        while let Some(part) = parts.next().await {
            assert!(!is_last, "a part follows the one with the header (RST-2)");
            let part = part?.range_response.expect("a part has a response");
            is_last = part.header.is_some();
            assert!(is_last || (part.count == 0 && !part.more), "only the last part has more and count (RST-2): {part:?}");
            whole.kvs.extend(part.kvs);
            (whole.header, whole.more, whole.count) = (part.header, part.more, part.count);
        }
        assert!(is_last, "the last part has the header (RST-2)");
        Ok(whole)
    }

    /// At the revision of a compaction, the last or one before, the reference may answer with what that compaction left behind: a hash
    /// that still covers what was taken away, under the compact revision before. It does so once the sweep is through and until it
    /// restarts, so what is told there is a race, and not compared.
    async fn hash_kv(&mut self, revision: i64) -> Answer {
        let answer = self.clients.maintenance.hash_kv(HashKvRequest { revision }).await.map(tonic::Response::into_inner);
        let hashed = answer.as_ref().map_or(revision, |response| response.hash_revision);
        if self.compactions.contains(&hashed) {
            return Answer { text: "a hash at the revision of a compaction".into(), revision: None, is_ok: true };
        }
        self.told(answer)
    }

    async fn lease(&mut self, op: &Op) -> Answer {
        match op {
            Op::Grant(LeaseRef::Generated(_), ttl) => {
                let answer = self.clients.lease.lease_grant(LeaseGrantRequest { ttl: *ttl, id: 0 }).await.map(|response| {
                    let mut response = response.into_inner();
                    assert!(response.id > 0, "a generated id is positive (LSE-1): {response:?}");
                    self.generated.push(response.id);
                    response.id = self.mapped(response.id);
                    response
                });
                self.told(answer)
            }
            Op::Grant(LeaseRef::Chosen(id), ttl) => {
                let answer = self.clients.lease.lease_grant(LeaseGrantRequest { ttl: *ttl, id: *id }).await;
                self.unary(answer)
            }
            Op::Revoke(lease) => {
                let id = self.real(*lease);
                let answer = self.clients.lease.lease_revoke(LeaseRevokeRequest { id }).await;
                self.unary(answer)
            }
            Op::TimeToLive(lease, keys) => {
                let id = self.real(*lease);
                let answer = self.clients.lease.lease_time_to_live(LeaseTimeToLiveRequest { id, keys: *keys }).await;
                let answer = answer.map(|response| {
                    let mut response = response.into_inner();
                    response.id = self.mapped(response.id);
                    response.keys.sort();
                    if (0..=response.granted_ttl).contains(&response.ttl) {
                        response.ttl = response.granted_ttl;
                    }
                    response
                });
                self.told(answer)
            }
            Op::KeepAlive(leases) => self.keep_alive(leases).await,
            Op::Leases => {
                let answer = self.clients.lease.lease_leases(LeaseLeasesRequest {}).await.map(|response| {
                    let mut response = response.into_inner();
                    response.leases.iter_mut().for_each(|lease| lease.id = self.mapped(lease.id));
                    response.leases.sort_by_key(|lease| lease.id);
                    response
                });
                self.told(answer)
            }
            other => unreachable!("not a lease operation: {other:?}"),
        }
    }

    async fn keep_alive(&mut self, leases: &[LeaseRef]) -> Answer {
        let requests: Vec<_> = leases.iter().map(|lease| LeaseKeepAliveRequest { id: self.real(*lease) }).collect();
        let mut text = String::new();
        let mut revision = None;
        // The stream ends after the last request: a half-close that the server answers with OK (LSE-4).
        let mut answers = match self.clients.lease.lease_keep_alive(tokio_stream::iter(requests)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return self.told::<LeaseKeepAliveResponse>(Err(status)),
        };
        while let Some(answer) = answers.next().await {
            let answer = answer.map(|mut answer| {
                answer.id = self.mapped(answer.id);
                answer
            });
            let told = self.told(answer);
            text += &told.text;
            text.push('\n');
            revision = told.revision;
            if !told.is_ok {
                return Answer { text, revision, is_ok: false };
            }
        }
        Answer { text, revision, is_ok: true }
    }

    async fn cluster(&mut self, op: &Op) -> Answer {
        let mut client = self.clients.cluster.clone();
        match op.clone() {
            Op::Members { linearizable } => {
                let answer = client.member_list(MemberListRequest { linearizable }).await;
                let answer = answer.map(|response| {
                    let mut response = response.into_inner();
                    response.members.iter_mut().for_each(|member| self.map_member(member));
                    response
                });
                self.told(answer)
            }
            Op::MemberAdd(urls) => {
                let request = MemberAddRequest { peer_ur_ls: self.real_urls(urls), is_learner: false };
                let answer = client.member_add(request).await;
                self.unary(answer)
            }
            Op::MemberRemove(id) => {
                let answer = client.member_remove(MemberRemoveRequest { id: self.real_member(id) }).await;
                self.unary(answer)
            }
            Op::MemberUpdate(id, urls) => {
                let request = MemberUpdateRequest { id: self.real_member(id), peer_ur_ls: self.real_urls(urls) };
                let answer = client.member_update(request).await.map(|response| {
                    let mut response = response.into_inner();
                    response.members.iter_mut().for_each(|member| self.map_member(member));
                    response
                });
                self.told(answer)
            }
            Op::MemberPromote(id) => {
                let answer = client.member_promote(MemberPromoteRequest { id: self.real_member(id) }).await;
                self.unary(answer)
            }
            Op::MoveLeader(id) => {
                let request = MoveLeaderRequest { target_id: self.real_member(id) };
                let answer = self.clients.maintenance.move_leader(request).await;
                self.unary(answer)
            }
            other => unreachable!("not an operation on members: {other:?}"),
        }
    }

    fn map_member(&self, member: &mut Member) {
        let (client, peer) = (self.server.endpoint(), self.server.peer_url());
        member.id = u64::from(member.id == self.member_id);
        member.client_ur_ls.iter_mut().for_each(|url| *url = url.replace(&client, "CLIENT"));
        member.peer_ur_ls.iter_mut().for_each(|url| *url = url.replace(&peer, "PEER"));
    }

    fn real_urls(&self, urls: Vec<String>) -> Vec<String> {
        urls.into_iter().map(|url| url.replace("PEER", &self.server.peer_url())).collect()
    }

    fn real_member(&self, id: u64) -> u64 {
        if id == 0 { self.member_id } else { id }
    }

    /// Sizes and log indexes are an implementation's own; they are only held to their order.
    async fn status(&mut self) -> Answer {
        let answer = self.clients.maintenance.status(StatusRequest {}).await.map(|response| {
            let mut status = response.into_inner();
            assert!(status.raft_applied_index <= status.raft_index, "applied before it is in the log: {status:?}");
            assert!(0 < status.db_size_in_use && status.db_size_in_use <= status.db_size, "sizes: {status:?}");
            assert!(status.raft_term > 0, "a term: {status:?}");
            let numbers: Vec<u32> = status.version.split('.').map(|part| part.parse().expect("VER-9: plain numbers")).collect();
            assert_eq!(numbers.len(), 3, "VER-9: three numbers: {status:?}");
            status.version = format!("{}.{}", numbers[0], numbers[1]);
            status.leader = u64::from(status.leader == self.member_id);
            (status.db_size, status.db_size_in_use) = (0, 0);
            (status.raft_index, status.raft_applied_index, status.raft_term) = (0, 0, 0);
            status
        });
        self.told(answer)
    }

    fn unary<T: Headed>(&mut self, answer: Result<tonic::Response<T>, Status>) -> Answer {
        self.told(answer.map(tonic::Response::into_inner))
    }

    fn told<T: Headed>(&mut self, answer: Result<T, Status>) -> Answer {
        match answer {
            Ok(mut response) => {
                let revision = response.header().as_ref().map(|header| header.revision);
                if let Some(header) = response.header() {
                    self.map_header(header);
                }
                Answer { text: format!("{response:?}"), revision, is_ok: true }
            }
            Err(status) => {
                let from_transport = std::error::Error::source(&status).is_some();
                assert!(!from_transport, "the connection failed: {status:?}\n{}", self.server.log_tail());
                Answer { text: format!("{:?} {:?}", status.code(), status.message()), revision: None, is_ok: false }
            }
        }
    }

    /// A right id becomes 1; a wrong one stays and is found by the comparison.
    fn map_header(&mut self, header: &mut ResponseHeader) {
        if header.cluster_id == self.cluster_id {
            header.cluster_id = 1;
        }
        if header.member_id == self.member_id {
            header.member_id = 1;
        }
        assert!(header.raft_term >= self.term, "the term went back from {}: {header:?}", self.term);
        self.term = header.raft_term;
        header.raft_term = u64::from(header.raft_term > 0);
    }

    fn real(&self, lease: LeaseRef) -> i64 {
        match lease {
            LeaseRef::Chosen(id) => id,
            LeaseRef::Generated(number) => self.generated[number],
        }
    }

    fn mapped(&self, id: i64) -> i64 {
        match self.generated.iter().position(|generated| *generated == id) {
            Some(number) => GENERATED + i64::try_from(number).expect("few leases"),
            None => id,
        }
    }
}
