//! A Go member's directory that cannot be taken over is refused in one line that says why, and is left as it was.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use etcd::node::takeover::{Place, TakeoverError, take_over};
use etcd::wal::{EntryKind, Record};
use etcd::wire::etcdserverpb::{AuthUserAddRequest, InternalRaftRequest, RequestHeader};
use etcd::wire::membershippb::ClusterVersionSetRequest;
use etcd::wire::raftpb;
use prost::Message;

use crate::go_dir::{self, append, consistent_index, cut_log_anew, db, edit_row, edit_rows, examined, flip_bit, segments};
use crate::harness::{self, Server};

/// What is done to a directory, and what is then said.
type Case = (&'static str, fn(&Path), &'static str);

const CASES: &[Case] = &[
    ("a bit of an old segment", |data| flip_bit_of_value(&segments(data)[1]), "the raft log is damaged"),
    ("a bit of the tail", |data| flip_bit_of_value(segments(data).last().unwrap()), "the raft log is damaged"),
    ("a segment is missing", |data| std::fs::remove_file(&segments(data)[3]).unwrap(), "the segments before it are missing"),
    ("the log's end is missing", cut_end_off, "but the state engine has applied entry"),
    ("the log's beginning is missing", cut_beginning_off, "the log begins at entry"),
    ("the whole log is missing", |data| std::fs::remove_dir_all(go_dir::log(data)).unwrap(), "there is no raft log in"),
    ("a bit of a page", |data| flip_bit(&db(data), root_page(data) * 4096 + 8), "snap/db: page"),
    ("half of the database", |data| std::fs::write(db(data), &std::fs::read(db(data)).unwrap()[..12_000]).unwrap(), "the end is missing"),
    ("a database of nothing", |data| std::fs::write(db(data), b"").unwrap(), "not a bbolt database"),
    ("a bit of a .snap file", |data| flip_bit(&snap_file(data), 100), ".snap: "),
    ("a newer storage version", |data| edit_row(data, "meta", "storageVersion", Some(b"3.8.0")), "its storage version is 3.8.0"),
    ("a newer cluster version", |data| edit_row(data, "cluster", "clusterVersion", Some(b"3.8.0")), "its cluster version is 3.8.0"),
    ("a newer cluster version in the log", set_version_in_log, "its cluster version is 3.8.0"),
    ("another cluster", |data| cut_log_anew(data, |of| of.cluster_id = Some(0xc0ffee)), "the log is of cluster c0ffee"),
    ("another member", |data| cut_log_anew(data, |of| of.node_id = Some(0xc0ffee)), "the log is of member c0ffee"),
    ("several members", |data| edit_row(data, "members", "a1", Some(MEMBER)), "it is one of 2 members"),
    ("a member that is added in the log", add_member_in_log, "it is one of 2 members"),
    ("a joint conf change", |data| append(data, |entry| entry.kind = EntryKind::EntryConfChangeV2), "it is a joint conf change"),
    ("a learner", make_learner, "is a learner: promote it first"),
    ("a database older than the snapshot", |data| set_index(data, 7), "but the log has a snapshot at"),
    ("a database ahead of the log", |data| set_index(data, 1 << 40), "the log ends at entry"),
    ("another term", |data| edit_row(data, "meta", "term", Some(&9u64.to_be_bytes())), "they do not belong together"),
    ("an unknown bucket", |data| edit_row(data, "attic", "key", Some(b"x")), "the bucket \"attic\" is none of etcd's"),
    ("a record that is none", |data| edit_rows(&db(data), break_record), "bucket key, key"),
    ("authentication", |data| edit_row(data, "auth", "authEnabled", Some(&[1])), "authentication is enabled"),
    ("authentication that is enabled in the log", enable_auth_in_log, "it enables authentication, which this release cannot enforce"),
    ("a user with a plain password in the log", add_user_in_log, "it sets a password as a member before 3.5 does"),
    ("an entry of the second API", |data| append(data, |entry| entry.data = OLD_PUT.into()), "it asks for nothing"),
];

const MEMBER: &[u8] = br#"{"id":161,"peerURLs":["http://other:2380"],"name":"other"}"#;
/// A request to the store of the second API, wrapped as 3.5 may do it: field 2 {Method "PUT", Path "/1/x"}.
const OLD_PUT: &[u8] = b"\x12\x0b\x12\x03PUT\x1a\x04/1/x";

/// In the data of a record: no checksum covers the zeros between two records.
fn flip_bit_of_value(segment: &Path) {
    let bytes = std::fs::read(segment).unwrap();
    flip_bit(segment, bytes.windows(6).position(|part| part == b"value ").unwrap());
}

/// From the segment on that has the entry which the database stands at.
fn cut_end_off(data: &Path) {
    let index = consistent_index(data);
    let segments = segments(data);
    let holding = segments.iter().rposition(|segment| go_dir::begins_at(segment) <= index).unwrap();
    segments[holding..].iter().for_each(|segment| std::fs::remove_file(segment).unwrap());
}

fn cut_beginning_off(data: &Path) {
    go_dir::rewrite_log(data, |_| {}, |record| !matches!(record, Record::Snapshot(_)));
    set_index(data, 3);
    std::fs::remove_file(&segments(data)[0]).unwrap();
    std::fs::remove_file(&segments(data)[0]).unwrap();
}

fn root_page(data: &Path) -> usize {
    let file = std::fs::File::open(db(data)).unwrap();
    etcd::bbolt::Database::open(etcd::bbolt::Prefix::whole(file).unwrap()).unwrap().meta().root as usize
}

/// Of the newest snapshot that the log speaks of.
fn snap_file(data: &Path) -> std::path::PathBuf {
    let snapshot = examined(data).snapshot.unwrap();
    data.join(format!("member/snap/{:016x}-{:016x}.snap", snapshot.term, snapshot.index))
}

fn set_index(data: &Path, index: u64) {
    edit_row(data, "meta", "consistent_index", Some(&index.to_be_bytes()));
}

fn break_record(rows: &mut go_dir::Rows) {
    let first = rows.get_mut(&b"key"[..]).unwrap().values_mut().next().unwrap();
    *first = b"\xff\xff".to_vec();
}

fn make_learner(data: &Path) {
    edit_rows(&db(data), |rows| {
        for member in rows.get_mut(&b"members"[..]).unwrap().values_mut() {
            *member = String::from_utf8(member.clone()).unwrap().replace("\"name\"", "\"isLearner\":true,\"name\"").into_bytes();
        }
    });
}

fn command(fill: impl FnOnce(&mut InternalRaftRequest)) -> Vec<u8> {
    let header = Some(RequestHeader { id: 7, ..RequestHeader::default() });
    let mut command = InternalRaftRequest { header, ..InternalRaftRequest::default() };
    fill(&mut command);
    command.encode_to_vec()
}

fn set_version_in_log(data: &Path) {
    let set = ClusterVersionSetRequest { ver: "3.8.0".into() };
    append(data, |entry| entry.data = command(|command| command.cluster_version_set = Some(set)).into());
}

fn enable_auth_in_log(data: &Path) {
    append(data, |entry| entry.data = command(|command| command.auth_enable = Some(Default::default())).into());
}

fn add_user_in_log(data: &Path) {
    let add = AuthUserAddRequest { name: "alice".into(), password: "plain".into(), ..AuthUserAddRequest::default() };
    append(data, |entry| entry.data = command(|command| command.auth_user_add = Some(add)).into());
}

fn add_member_in_log(data: &Path) {
    let change = raftpb::ConfChange {
        r#type: Some(raftpb::ConfChangeType::ConfChangeAddNode as i32),
        node_id: Some(161),
        context: Some(MEMBER.into()),
        ..raftpb::ConfChange::default()
    };
    append(data, |entry| {
        entry.kind = EntryKind::EntryConfChange;
        entry.data = change.encode_to_vec().into();
    });
}

pub fn place(data: &Path) -> Place {
    Place { member: data.join("member"), wal: go_dir::log(data) }
}

fn refusal(data: &Path) -> Option<TakeoverError> {
    take_over(&place(data), Duration::ZERO, &mut |_| ControlFlow::Continue(())).err()
}

/// What is wrong with what was said and left.
fn judge(data: &Path, change: fn(&Path), wanted: &str) -> Result<(), String> {
    change(data);
    let before = go_dir::tree(data);
    let said = refusal(data).ok_or("it was not refused")?.to_string();
    let after = go_dir::tree(data);
    if !said.contains(wanted) || said.contains('\n') {
        return Err(format!("it was said: {said}"));
    }
    if after.keys().ne(before.keys()) {
        return Err(format!("there are other files: {:?}", after.keys()));
    }
    if after == before { Ok(()) } else { Err("a file has changed".into()) }
}

#[tokio::test]
async fn what_cannot_be_taken_over_is_refused_in_one_line_and_left_as_it_was() {
    let server = go_dir::small().await;
    let mut failed = Vec::new();
    for (name, change, wanted) in CASES {
        let home = tempfile::tempdir().unwrap();
        go_dir::copy(&server.data_dir(), home.path());
        if let Err(why) = judge(home.path(), *change, wanted) {
            failed.push(format!("{name}: {why}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[tokio::test]
async fn a_directory_that_a_go_member_runs_on_is_refused() {
    let server = Server::start(&harness::reference(), &[]).await;
    let said = refusal(&server.data_dir());
    assert!(matches!(said, Some(TakeoverError::InUse(_))), "{said:?}");
}

#[tokio::test]
async fn a_refusal_ends_the_program_with_one_line_and_code_1() {
    let mut server = go_dir::small().await;
    edit_row(&server.data_dir(), "meta", "storageVersion", Some(b"3.8.0"));
    server.switch_to(&harness::ours());
    let lines_before = server.log().lines().count();
    server.launch();
    assert_eq!(server.ended().await.code(), Some(1));
    let log = server.log();
    let said: Vec<_> = log.lines().skip(lines_before).filter(|line| line.contains("its storage version is 3.8.0")).collect();
    assert_eq!(said.len(), 1, "{log}");
    assert!(db(&server.data_dir()).exists());
}
