//! A Go member's directory changes hands with nothing lost, and goes back.
//!
//! ```text
//!   real server --SIGKILL, its log ahead of its database--> directory --copy--> real server: the picture it should be
//!                                                               |
//!                                                               +--> ours: the same picture --more writes--> export --> real server
//! ```
//!
//! `ETCD_UPGRADE_KEYS` sets how many keys there are, `ETCD_UPGRADE_SEED` repeats a plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd::bbolt::Database;
use etcd::wire::authpb::{Permission, UserAddOptions};
use etcd::wire::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGrantPermissionRequest,
    AuthRoleRevokePermissionRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGrantRoleRequest,
    AuthUserRevokeRoleRequest, CompactionRequest, DeleteRangeRequest, HashKvRequest, InternalRaftRequest, LeaseGrantRequest,
    LeaseLeasesRequest, LeaseTimeToLiveRequest, Member, MemberListRequest, PutRequest, RangeRequest, RequestHeader, RequestOp,
    SnapshotRequest, TxnRequest, alarm_request::AlarmAction, auth_client::AuthClient, request_op::Request,
};
use etcd::wire::mvccpb::KeyValue;
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::go_dir::{self, put};
use crate::harness::{self, Clients, Server, runner};

/// All that a client can see of a member, but for the time that leases have left.
#[derive(Clone, Debug, PartialEq)]
struct Picture {
    revision: i64,
    kvs: Vec<KeyValue>,
    /// At a few revisions: the hash, and the compact revision that it counts from.
    hashes: BTreeMap<i64, (u32, i64)>,
    members: Vec<Member>,
    /// Granted TTL and keys.
    leases: BTreeMap<i64, (i64, Vec<Vec<u8>>)>,
    alarms: Vec<AlarmMember>,
    identity: (u64, u64),
    /// The rows of users, roles and their revision, which no call of ours shows.
    auth: Vec<Option<BTreeMap<Vec<u8>, Vec<u8>>>>,
}

async fn look(clients: &mut Clients) -> Picture {
    let everything = RangeRequest { key: b"\0"[..].into(), range_end: b"\0"[..].into(), ..Default::default() };
    let state = clients.kv.range(everything).await.expect("a read").into_inner();
    let header = state.header.expect("a header");
    let mut hashes = BTreeMap::new();
    let compacted = clients.maintenance.hash_kv(HashKvRequest { revision: 0 }).await.expect("a hash").into_inner().compact_revision;
    let first = compacted.max(1);
    for revision in [first, first + (header.revision - first) / 2, header.revision] {
        let hash = clients.maintenance.hash_kv(HashKvRequest { revision }).await.expect("a hash").into_inner();
        hashes.insert(revision, (hash.hash, hash.compact_revision));
    }
    let members = clients.cluster.member_list(MemberListRequest::default()).await.expect("a member list").into_inner().members;
    let mut leases = BTreeMap::new();
    for lease in clients.lease.lease_leases(LeaseLeasesRequest {}).await.expect("leases").into_inner().leases {
        let asked = LeaseTimeToLiveRequest { id: lease.id, keys: true };
        let told = clients.lease.lease_time_to_live(asked).await.expect("a lease").into_inner();
        let mut keys: Vec<_> = told.keys.iter().map(|key| key.to_vec()).collect();
        keys.sort();
        leases.insert(lease.id, (told.granted_ttl, keys));
    }
    let alarms = clients.maintenance.alarm(AlarmRequest::default()).await.expect("alarms").into_inner().alarms;
    let identity = (header.cluster_id, header.member_id);
    let mut rows = go_dir::rows_of(Database::open(database(clients).await).expect("a database"));
    let auth = ["auth", "authUsers", "authRoles"].map(|bucket| rows.remove(bucket.as_bytes())).into();
    Picture { revision: header.revision, kvs: state.kvs, hashes, members, leases, alarms, identity, auth }
}

/// A snapshot without its digest.
async fn database(clients: &mut Clients) -> Vec<u8> {
    let mut stream = clients.maintenance.snapshot(SnapshotRequest {}).await.expect("a snapshot").into_inner();
    let mut file = Vec::new();
    while let Some(piece) = stream.message().await.expect("a whole snapshot") {
        file.extend_from_slice(&piece.blob);
    }
    file.truncate(file.len() - 32);
    file
}

async fn act_on_alarm(clients: &mut Clients, action: AlarmAction) {
    let request = AlarmRequest { action: action.into(), member_id: 0, alarm: AlarmType::Nospace.into() };
    clients.maintenance.alarm(request).await.expect("an alarm");
}

/// Writes of every kind, and at the end some that the server's database has not taken yet.
async fn fill(server: &Server, keys: usize, rng: &mut StdRng) {
    let mut clients = server.clients();
    let mut auth = AuthClient::new(clients.channel.clone());
    auth.user_add(AuthUserAddRequest { name: "alice".into(), password: "x".into(), ..Default::default() }).await.expect("a user");
    auth.role_add(AuthRoleAddRequest { name: "reader".into() }).await.expect("a role");
    for id in 1..=20 {
        clients.lease.lease_grant(LeaseGrantRequest { id, ttl: 3600 + id }).await.expect("a lease");
    }
    for first in (0..keys).step_by(100) {
        let puts = (first..keys.min(first + 100)).map(|number| {
            let value = vec![b'v'; rng.random_range(1..300)];
            let lease = if number % 50 == 0 { (number / 50 % 20) as i64 + 1 } else { 0 };
            let put = PutRequest { key: format!("key {number:07}").into(), value: value.into(), lease, ..Default::default() };
            RequestOp { request: Some(Request::RequestPut(put)) }
        });
        clients.kv.txn(TxnRequest { success: puts.collect(), ..Default::default() }).await.expect("a transaction");
    }
    for _ in 0..200 {
        let key = format!("key {:07}", rng.random_range(0..keys));
        if rng.random_bool(0.3) {
            let delete = DeleteRangeRequest { key: key.into(), ..Default::default() };
            clients.kv.delete_range(delete).await.expect("a delete");
        } else {
            put(&mut clients, key, "again").await;
        }
    }
    let revision = look_at_revision(&mut clients).await - 150;
    clients.kv.compact(CompactionRequest { revision, physical: true }).await.expect("a compaction");
}

async fn look_at_revision(clients: &mut Clients) -> i64 {
    let read = RangeRequest { key: "x".into(), ..Default::default() };
    clients.kv.range(read).await.expect("a read").into_inner().header.expect("a header").revision
}

/// Kills the server right after writes that are acknowledged, so that they are in its log alone.
async fn kill_with_log_ahead(server: &mut Server) {
    loop {
        let mut clients = server.clients();
        act_on_alarm(&mut clients, AlarmAction::Deactivate).await;
        for number in 0..100 {
            put(&mut clients, format!("last {number}"), "acknowledged").await;
        }
        act_on_alarm(&mut clients, AlarmAction::Activate).await;
        server.kill();
        if go_dir::is_log_ahead(&server.data_dir()) {
            return;
        }
        println!("the database was level with the log; once more");
        server.start_again().await;
    }
}

/// What the real server makes of the directory as it is now; the directory is put back.
async fn wanted(server: &mut Server) -> Picture {
    let aside = server.data_dir().with_extension("aside");
    go_dir::copy(&server.data_dir(), &aside);
    server.start_again().await;
    let picture = look(&mut server.clients()).await;
    server.kill();
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    std::fs::rename(&aside, server.data_dir()).unwrap();
    picture
}

fn export(from: &Path, to: &Path) -> (bool, String) {
    let done = runner::command(runner::built("etcdutl", env!("CARGO_BIN_EXE_etcdutl")))
        .args(["export", "--timeout=100ms", "--data-dir"])
        .arg(from)
        .arg("--to")
        .arg(to)
        .output()
        .unwrap();
    (done.status.success(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
}

/// Exports the directory of the stopped server into its own place.
fn go_back(server: &Server) {
    let (ours, theirs) = (server.data_dir(), server.data_dir().with_extension("exported"));
    let (is_done, said) = export(&ours, &theirs);
    assert!(is_done, "{said}");
    std::fs::rename(&ours, ours.with_extension("left")).unwrap();
    std::fs::rename(&theirs, &ours).unwrap();
}

fn kept(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.join("member")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("go-")).collect()
}

#[tokio::test]
async fn a_go_members_directory_opens_with_nothing_lost_and_goes_back() {
    let mut rng = StdRng::seed_from_u64(harness::seed("ETCD_UPGRADE_SEED"));
    let keys: usize = harness::setting("ETCD_UPGRADE_KEYS", 3000);
    let mut server = Server::start(&harness::reference(), &["--snapshot-count=50", "--snapshot-catchup-entries=20"]).await;
    fill(&server, keys, &mut rng).await;
    kill_with_log_ahead(&mut server).await;
    let before = wanted(&mut server).await;
    assert!(before.kvs.len() > keys / 2 && before.leases.len() == 20 && before.alarms.len() == 1);

    server.switch_to(&harness::ours());
    server.start_again().await;
    let mut clients = server.clients();
    assert_eq!(look(&mut clients).await, before);
    let [kept] = &kept(&server.data_dir())[..] else { panic!("one directory is kept: {:?}", kept(&server.data_dir())) };
    assert!(kept.join("snap/db").exists() && kept.join("wal").exists() && !server.data_dir().join("member/snap").exists());

    act_on_alarm(&mut clients, AlarmAction::Deactivate).await;
    for number in 0..300 {
        put(&mut clients, format!("ours {number}"), "after").await;
    }
    clients.lease.lease_grant(LeaseGrantRequest { id: 77, ttl: 5000 }).await.unwrap();
    let ours = look(&mut clients).await;
    // Killed as well: what is in the log alone is carried along.
    server.kill();
    server.start_again().await;
    assert_eq!(look(&mut server.clients()).await, ours);
    put(&mut server.clients(), "ours", "last").await;
    let ours = look(&mut server.clients()).await;
    server.kill();

    go_back(&server);
    server.switch_to(&harness::reference());
    server.start_again().await;
    assert_eq!(look(&mut server.clients()).await, ours);
    put(&mut server.clients(), "theirs", "once more").await;
    let theirs = look(&mut server.clients()).await;
    server.kill();

    server.switch_to(&harness::ours());
    server.start_again().await;
    assert_eq!(look(&mut server.clients()).await, theirs);
    println!("{} keys, {} revisions", theirs.kvs.len(), theirs.revision);
}

#[tokio::test]
async fn kills_at_any_moment_of_a_takeover_lose_nothing() {
    let mut rng = StdRng::seed_from_u64(harness::seed("ETCD_UPGRADE_SEED"));
    let mut server = Server::start(&harness::reference(), &["--snapshot-count=50", "--snapshot-catchup-entries=20"]).await;
    fill(&server, 5000, &mut rng).await;
    kill_with_log_ahead(&mut server).await;
    let before = wanted(&mut server).await;
    server.switch_to(&harness::ours());
    let mut rounds = 0u64;
    loop {
        server.launch();
        // The fault's moment is what the seed plans; nothing waits for it.
        tokio::time::sleep(Duration::from_millis(rng.random_range(1..100 + 50 * rounds))).await;
        server.kill();
        rounds += 1;
        if server.data_dir().join("member/db").exists() {
            break;
        }
        if rounds.is_multiple_of(10) {
            // It is the Go member's still.
            server.switch_to(&harness::reference());
            assert_eq!(wanted(&mut server).await, before, "round {rounds}");
            server.switch_to(&harness::ours());
        }
        assert!(rounds < 1000, "never came to the switch");
    }
    server.start_again().await;
    assert_eq!(look(&mut server.clients()).await, before);
    println!("{rounds} kills until the switch");
}

/// Changes of users and roles, some of which are refused when they are applied.
fn auth_changes() -> Vec<InternalRaftRequest> {
    let mut changes = Vec::new();
    let mut add = |fill: &dyn Fn(&mut InternalRaftRequest)| {
        let header = Some(RequestHeader { id: 7, ..RequestHeader::default() });
        let mut command = InternalRaftRequest { header, ..InternalRaftRequest::default() };
        fill(&mut command);
        changes.push(command);
    };
    for (name, options) in [("alice", None), ("bob", Some(UserAddOptions::default())), ("bob", None), ("", None)] {
        let user = AuthUserAddRequest { name: name.into(), hashed_password: "aGFzaA==".into(), options, ..Default::default() };
        add(&|command| command.auth_user_add = Some(user.clone()));
    }
    let certified = AuthUserAddRequest { name: "carol".into(), options: Some(UserAddOptions { no_password: true }), ..Default::default() };
    add(&|command| command.auth_user_add = Some(certified.clone()));
    for role in ["reader", "writer", "writer", "gone", ""] {
        add(&|command| command.auth_role_add = Some(AuthRoleAddRequest { name: role.into() }));
    }
    for (user, role) in [("alice", "writer"), ("alice", "root"), ("alice", "gone"), ("alice", "gone"), ("bob", "none"), ("eve", "root")] {
        add(&|command| command.auth_user_grant_role = Some(AuthUserGrantRoleRequest { user: user.into(), role: role.into() }));
    }
    for (perm_type, key, range_end) in [(0, "b", ""), (1, "a", "c"), (2, "b", "\0"), (1, "b", ""), (0, "b", "\0"), (0, "c", "a")] {
        let perm = Some(Permission { perm_type, key: key.into(), range_end: range_end.into() });
        let grant = AuthRoleGrantPermissionRequest { name: "reader".into(), perm };
        add(&|command| command.auth_role_grant_permission = Some(grant.clone()));
    }
    for key in ["a", "x"] {
        let revoke = AuthRoleRevokePermissionRequest { role: "reader".into(), key: key.into(), range_end: "c".into() };
        add(&|command| command.auth_role_revoke_permission = Some(revoke.clone()));
    }
    for name in ["bob", "eve"] {
        let change = AuthUserChangePasswordRequest { name: name.into(), hashed_password: "b3RoZXI=".into(), ..Default::default() };
        add(&|command| command.auth_user_change_password = Some(change.clone()));
        add(&|command| command.auth_user_revoke_role = Some(AuthUserRevokeRoleRequest { name: "alice".into(), role: "root".into() }));
        add(&|command| command.auth_role_delete = Some(AuthRoleDeleteRequest { role: "gone".into() }));
        add(&|command| command.auth_user_delete = Some(AuthUserDeleteRequest { name: "carol".into() }));
    }
    // None of these changes a row.
    add(&|command| command.auth_disable = Some(Default::default()));
    add(&|command| command.auth_user_list = Some(Default::default()));
    changes
}

#[tokio::test]
async fn users_and_roles_that_the_log_alone_has_become_the_rows_that_the_go_member_makes_of_them() {
    let mut server = go_dir::small().await;
    let data = server.data_dir();
    for change in auth_changes() {
        go_dir::append(&data, |entry| entry.data = change.encode_to_vec().into());
    }
    let before = wanted(&mut server).await;
    assert!(before.auth.iter().all(|rows| rows.as_ref().is_some_and(|rows| !rows.is_empty())), "{:?}", before.auth);
    server.switch_to(&harness::ours());
    server.start_again().await;
    assert_eq!(look(&mut server.clients()).await, before);
}

#[tokio::test]
async fn a_directory_of_3_5_opens_with_what_its_log_says_in_the_second_api() {
    let mut server = go_dir::small().await;
    let data = server.data_dir();
    go_dir::edit_row(&data, "meta", "storageVersion", None);
    go_dir::edit_row(&data, "cluster", "clusterVersion", Some(b"3.5.0"));
    let own = go_dir::rows(&go_dir::db(&data))[&b"members"[..]].keys().next().cloned().map(|key| String::from_utf8(key).unwrap()).unwrap();
    let attributes = r#"{"name":"default","clientURLs":["http://old:2379"]}"#;
    for (path, value) in [(format!("/0/members/{own}/attributes"), attributes), ("/0/version".into(), "3.5.0")] {
        let field = |tag: u8, text: &str| [&[tag, text.len() as u8], text.as_bytes()].concat();
        let request = [vec![8, 7], field(0x12, "PUT"), field(0x1a, &path), field(0x22, value)].concat();
        go_dir::append(&data, |entry| entry.data = request.into());
    }
    server.switch_to(&harness::ours());
    server.start_again().await;
    let picture = look(&mut server.clients()).await;
    assert_eq!((picture.kvs.len(), picture.members.len()), (70, 1));
    assert!(server.log().contains("taking over"), "{}", server.log());
}

#[tokio::test]
async fn each_start_names_what_is_kept_of_the_go_member_until_it_is_removed() {
    let mut server = go_dir::small().await;
    server.switch_to(&harness::ours());
    server.start_again().await;
    let [kept] = &kept(&server.data_dir())[..] else { panic!("one directory is kept: {:?}", kept(&server.data_dir())) };
    let bytes: usize = go_dir::tree(kept).values().map(Vec::len).sum();
    let names = |log: &str| {
        let lines = log.lines().filter(|line| line.contains("a Go member's files are kept here"));
        lines.filter(|line| line.contains(kept.to_str().unwrap()) && line.contains(&format!("\"bytes\":{bytes}"))).count()
    };
    assert_eq!(names(&server.log()), 1, "{}", server.log());
    server.stop().await;
    server.start_again().await;
    assert_eq!(names(&server.log()), 2, "{}", server.log());
    let before = look(&mut server.clients()).await;
    server.stop().await;
    std::fs::remove_dir_all(kept).unwrap();
    server.start_again().await;
    assert_eq!((names(&server.log()), look(&mut server.clients()).await), (2, before));
}

#[tokio::test]
async fn an_export_is_refused_where_it_could_do_harm() {
    let mut server = Server::start(&harness::ours(), &[]).await;
    put(&mut server.clients(), "key", "x").await;
    let (data, to) = (server.data_dir(), server.data_dir().with_extension("exported"));
    let (is_done, said) = export(&data, &to);
    assert!(!is_done && said.contains("is in use by another process"), "{said}");
    server.stop().await;
    std::fs::create_dir_all(to.join("something")).unwrap();
    let (is_done, said) = export(&data, &to);
    assert!(!is_done && said.contains("is not empty"), "{said}");
    std::fs::remove_dir(to.join("something")).unwrap();
    let (is_done, said) = export(&data, &to);
    assert!(is_done, "{said}");
    let (is_done, said) = export(&to, &to.with_extension("again"));
    assert!(!is_done && said.contains("is a Go member's already"), "{said}");
}
