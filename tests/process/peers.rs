//! The peer port of both running servers, asked the same questions (surface 3.7, HTP-11).

use etcd::wire::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveResponse, LeaseTimeToLiveRequest, PutRequest, StatusRequest};
use etcd::wire::leasepb::{LeaseInternalRequest, LeaseInternalResponse};
use prost::Message;

use super::harness::{Server, ours, reference};
use super::oracle::ask_with;

/// A member with one key and one lease, and what names it.
struct Site {
    server: Server,
    cluster: String,
    member: u64,
    lease: i64,
}

struct Answer {
    status: u16,
    /// Without what every answer has, in order.
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Site {
    async fn start(program: &std::path::Path) -> Site {
        let server = Server::start(program, &[]).await;
        let mut clients = server.clients();
        let lease = clients.lease.lease_grant(LeaseGrantRequest { ttl: 600, id: 77 }).await.expect("a lease").into_inner().id;
        let put = PutRequest { key: "key".into(), value: "value".into(), lease, ..Default::default() };
        clients.kv.put(put).await.expect("a key");
        let header = clients.maintenance.status(StatusRequest {}).await.expect("a status").into_inner().header.expect("a header");
        Site { server, cluster: format!("{:x}", header.cluster_id), member: header.member_id, lease }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let address = self.server.peer_url().replace("http://", "");
        let (member, path) = (format!("{:x}", self.member), path.replace("MEMBERNUMBER", &self.member.to_string()));
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|&(name, value)| match value {
                "CLUSTER" => (name, self.cluster.as_str()),
                "MEMBER" => (name, member.as_str()),
                _ => (name, value),
            })
            .collect();
        let answer = ask_with(&address, method, &path.replace("MEMBER", &member), &headers, body).expect("it answers");
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let unsaid = ["date", "connection", "content-length", "transfer-encoding"];
        let named = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.replace(&self.cluster, "CLUSTER")));
        let mut headers: Vec<String> = head
            .lines()
            .skip(1)
            .filter_map(named)
            .filter(|(name, _)| !unsaid.contains(&name.as_str()))
            .map(|(n, v)| format!("{n}: {v}"))
            .collect();
        headers.sort();
        Answer { status, headers, body: answer[end + 4..].to_vec() }
    }

    /// The body with what differs from server to server named.
    fn text(&self, answer: &Answer) -> String {
        let address = self.server.address();
        let text = String::from_utf8_lossy(&answer.body).replace(&self.server.peer_url(), "PEER").replace(&address, "CLIENT");
        // The release is not compared: the reference may be a newer one.
        let text = match text.split_once("\"etcdserver\":\"").and_then(|(_, rest)| rest.split_once('"')) {
            Some((release, _)) => text.replace(&format!("\"etcdserver\":\"{release}\""), "RELEASE"),
            None => text,
        };
        text.replace(&self.member.to_string(), "MEMBERNUMBER")
    }
}

const VERSIONS: [(&str, &str); 3] = [("X-Server-Version", "3.7.0"), ("X-Min-Cluster-Version", "3.0.0"), ("X-Server-From", "5")];

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_peers_are_etcds() {
    let (ours, theirs) = (Site::start(&ours()).await, Site::start(&reference()).await);
    let member = [VERSIONS[0], VERSIONS[1], ("X-Etcd-Cluster-ID", "CLUSTER"), ("X-Raft-To", "MEMBER")];
    let too_old = [("X-Server-Version", "2.3.0"), ("X-Etcd-Cluster-ID", "CLUSTER")];
    let too_new = [VERSIONS[0], ("X-Min-Cluster-Version", "3.8.0"), ("X-Etcd-Cluster-ID", "CLUSTER")];
    let elsewhere = [VERSIONS[0], VERSIONS[1], ("X-Etcd-Cluster-ID", "1")];
    let big = vec![0; 70_000];
    let mut questions: Vec<(&str, &str, &[(&str, &str)], &[u8])> = Vec::new();
    for path in ["/members", "/members/hashkv", "/members/promote/5", "/leases", "/leases/internal", "/version", "/downgrade/enabled"] {
        for method in ["GET", "PUT", "HEAD"] {
            questions.push((method, path, &[], b""));
        }
    }
    for path in ["/", "/health", "/metrics", "/v3/kv/range", "/members/", "/members/x", "/leases/x", "/raft/", "/raft/x", "/version/"] {
        questions.push(("GET", path, &[], b""));
    }
    for path in ["/raft", "/raft/snapshot", "/raft/stream/message/5"] {
        questions.extend([("GET", path, &[][..], &b""[..]), ("POST", path, &[], b""), ("POST", path, &elsewhere, b"")]);
    }
    for path in ["/raft/stream/message/5", "/raft/stream/msgapp/MEMBER", "/raft/stream/message/zz", "/raft/stream/other/5"] {
        questions.extend([&member[..], &too_old, &too_new, &elsewhere, &VERSIONS].map(|headers| ("GET", path, headers, &b""[..])));
    }
    questions.extend([
        ("POST", "/members/promote/MEMBERNUMBER", &[][..], &b""[..]),
        ("POST", "/members/promote/5", &[], b""),
        ("POST", "/members/promote/x", &[], b""),
        ("GET", "/members/hashkv", &[], b"{\"revision\":2}"),
        ("GET", "/members/hashkv", &[], b"{\"Revision\":0,\"other\":true}"),
        ("GET", "/members/hashkv", &[], b"{\"revision\":99}"),
        ("GET", "/members/hashkv", &[], b"{\"revision\":\"2\"}"),
        ("GET", "/members/hashkv", &elsewhere, b"{}"),
        ("POST", "/raft", &member, b""),
        ("POST", "/raft", &member, b"xyz"),
        ("POST", "/raft/snapshot", &member, b""),
        ("POST", "/raft/snapshot", &member, b"xyz"),
        ("POST", "/raft/snapshot", &member, b"\0\0\0\0\0\0\0\x02\x08\x03"),
        ("POST", "/leases", &[], b"\x08\x05"),
        ("POST", "/leases", &[], b"\x08"),
        ("POST", "/leases", &[], &big),
        ("POST", "/leases/internal", &[], b"\x0a\x02\x08\x05"),
        ("POST", "/leases/internal", &[], b"\x0a"),
    ]);
    for (method, path, headers, body) in questions {
        let (a, b) = (ours.ask(method, path, headers, body), theirs.ask(method, path, headers, body));
        let said = (a.status, &a.headers, ours.text(&a));
        assert_eq!(said, (b.status, &b.headers, theirs.text(&b)), "{method} {path} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_renewed_and_looked_at_through_the_peer_port() {
    for program in [ours(), reference()] {
        let site = Site::start(&program).await;
        let answer = site.ask("POST", "/leases", &[], &etcd::wire::etcdserverpb::LeaseKeepAliveRequest { id: site.lease }.encode_to_vec());
        assert_eq!((answer.status, answer.headers), (200, vec!["content-type: application/protobuf".to_owned()]));
        let renewed = LeaseKeepAliveResponse::decode(&answer.body[..]).expect("a renewal");
        assert_eq!((renewed.header, renewed.id, renewed.ttl), (None, site.lease, 600));
        let wanted = LeaseTimeToLiveRequest { id: site.lease, keys: true };
        let question = LeaseInternalRequest { lease_time_to_live_request: Some(wanted) };
        let answer = site.ask("POST", "/leases/internal", &[], &question.encode_to_vec());
        let looked = LeaseInternalResponse::decode(&answer.body[..]).expect("an answer").lease_time_to_live_response.expect("a lease");
        assert_eq!((looked.id, looked.granted_ttl, &looked.keys[..]), (site.lease, 600, &[b"key".to_vec().into()][..]));
        assert!((590..=600).contains(&looked.ttl), "{}", looked.ttl);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_compare_their_clocks_by_probing() {
    for program in [ours(), reference()] {
        let site = Site::start(&program).await;
        let answer = site.ask("GET", "/raft/probing", &[], b"");
        let status: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let now = status["Now"].as_str().expect("a time");
        assert!(now.len() > 19 && now.as_bytes()[10] == b'T', "{now}");
        assert_eq!((answer.status, &status["OK"]), (200, &serde_json::Value::Bool(true)));
        assert_eq!(answer.headers, ["content-type: text/plain; charset=utf-8"]);
    }
}
