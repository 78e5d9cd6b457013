//! Small quotas, as harnesses set them (QUO-1b): the same story is told to both servers, and told the same way by both.

use std::path::Path;

use bytes::Bytes;
use etcd::wire::etcdserverpb::{CompactionRequest, DefragmentRequest, LeaseGrantRequest, StatusRequest};
use tonic::{Code, Status};

use crate::{
    harness::{ours, reference},
    member::{Member, NO_SPACE, Told, disarm, has_alarm},
};

async fn with_quota(program: &Path, quota: &str) -> (Member, tempfile::TempDir) {
    let notes = tempfile::tempdir().expect("a directory");
    let mut member = Member::new(program, notes.path().join("data"), notes.path(), &["--quota-backend-bytes", quota]);
    member.start().await;
    (member, notes)
}

fn is_no_space(status: &Status) {
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, NO_SPACE));
}

/// Until NOSPACE, then compact, defragment, disarm and write again. Answers what a client saw.
async fn thirteen_pages(program: &Path) -> Vec<String> {
    let (member, _notes) = with_quota(program, "53248").await;
    let mut clients = member.clients();
    let mut seen = Vec::new();
    let mut told = Told::default();
    let value = Bytes::from(vec![b'v'; 512]);
    let mut refused = None;
    for number in 0..500 {
        // One key, so that a compaction frees nearly all.
        if let Err(status) = told.put(&mut clients, "key", value.slice(number % 7..)).await {
            refused = Some(status);
            break;
        }
    }
    let refused = refused.expect("500 puts of 512 bytes do not fit into 13 pages");
    seen.push(format!("{:?} {}", refused.code(), refused.message()));
    is_no_space(&refused);
    let grant = clients.lease.lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await.expect_err("a grant is refused too");
    is_no_space(&grant);
    let status = clients.maintenance.status(StatusRequest {}).await.expect("a status").into_inner();
    seen.push(format!("quota {} errors {}", status.db_size_quota, status.errors.len()));
    let revision = status.header.expect("a header").revision;
    clients.kv.compact(CompactionRequest { revision, physical: true }).await.expect("a compaction is not refused");
    clients.maintenance.defragment(DefragmentRequest {}).await.expect("a defragmentation is not refused");
    is_no_space(&told.put(&mut clients, "key", value.clone()).await.expect_err("the alarm still stands"));
    seen.push(format!("disarmed {}", disarm(&mut clients).await.expect("alarms are told")));
    told.put(&mut clients, "key", value.clone()).await.expect("a write after the way out");
    told.check(&mut clients).await;
    let status = clients.maintenance.status(StatusRequest {}).await.expect("a status").into_inner();
    assert!(status.db_size < 53_248, "{}", status.db_size);
    seen
}

#[tokio::test]
async fn a_quota_of_thirteen_pages_is_met_and_left_again_as_with_etcd() {
    assert_eq!(thirteen_pages(&ours()).await, thirteen_pages(&reference()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_meet_the_quota_together_raise_one_alarm() {
    let (member, _notes) = with_quota(&ours(), "53248").await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..50 {
        let mut clients = member.clients();
        writers.spawn(async move {
            let put = Told::default().put_many(&mut clients, &format!("{writer}-"), 500, &Bytes::from(vec![b'v'; 512])).await;
            is_no_space(&put.expect_err("so many puts do not fit into 13 pages"));
            // Whoever was refused finds the alarm.
            assert!(has_alarm(&mut clients).await.expect("alarms are told"));
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.expect("a writer ends by a refusal");
    }
    let raised = member.log_text().matches("raising the NOSPACE alarm").count();
    assert_eq!(raised, 1, "{}", member.log_text());
}

/// Below an empty database file: nothing fits, and the server runs.
async fn below_an_empty_file(program: &Path) -> Vec<String> {
    let (member, _notes) = with_quota(program, "5120").await;
    let mut clients = member.clients();
    let mut told = Told::default();
    let refused = told.put(&mut clients, "key", Bytes::from_static(b"v")).await.expect_err("nothing fits");
    is_no_space(&refused);
    let status = clients.maintenance.status(StatusRequest {}).await.expect("a status").into_inner();
    assert!(status.db_size >= 5120, "{}", status.db_size);
    vec![format!("{:?} {}", refused.code(), refused.message()), format!("quota {} errors {}", status.db_size_quota, status.errors.len())]
}

#[tokio::test]
async fn a_quota_below_an_empty_file_refuses_every_put_as_with_etcd() {
    assert_eq!(below_an_empty_file(&ours()).await, below_an_empty_file(&reference()).await);
}
