//! A member that sends what is no snapshot: etcdctl says so and leaves no file.

use std::path::Path;
use std::pin::Pin;
use std::process::Output;

use etcd::bbolt::{Format, Sizer};
use etcd::wire::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse,
    HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
};
use etcd::wire::service::etcd::maintenance_server::{Maintenance, MaintenanceServer};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use sha2::{Digest, Sha256};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::harness::runner;

type Messages = Vec<Result<SnapshotResponse, Status>>;

/// Answers every snapshot with these messages.
struct Liar(Messages);

macro_rules! speechless {
    ($($call:ident: $request:ident -> $response:ident;)*) => {
        $(
            fn $call<'a: 't, 't>(
                &'a self,
                _: Request<$request>,
            ) -> Pin<Box<dyn Future<Output = Result<Response<$response>, Status>> + Send + 't>> {
                Box::pin(async { Err(Status::unimplemented("it only sends snapshots")) })
            }
        )*
    };
}

#[tonic::async_trait]
impl Maintenance for Liar {
    speechless! {
        alarm: AlarmRequest -> AlarmResponse;
        status: StatusRequest -> StatusResponse;
        defragment: DefragmentRequest -> DefragmentResponse;
        hash: HashRequest -> HashResponse;
        hash_kv: HashKvRequest -> HashKvResponse;
        move_leader: MoveLeaderRequest -> MoveLeaderResponse;
        downgrade: DowngradeRequest -> DowngradeResponse;
    }

    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn snapshot(&self, _: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::iter(self.0.clone()))))
    }
}

/// An etcd database without a key.
fn database() -> Vec<u8> {
    let mut sizer = Sizer::new(Format::default());
    sizer.bucket(b"key");
    let mut writer = sizer.finish().writer(Vec::new());
    writer.bucket(b"key").expect("as it was sized");
    writer.finish().expect("as it was sized")
}

fn piece(blob: &[u8]) -> Result<SnapshotResponse, Status> {
    Ok(SnapshotResponse { blob: blob.to_vec().into(), version: "3.7.0".into(), ..Default::default() })
}

async fn save(messages: Messages, path: &Path) -> Output {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("a connection");
        let service = TowerToHyperService::new(MaintenanceServer::new(Liar(messages)));
        // How the connection ends is the client's affair.
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
    });
    let mut etcdctl = runner::command(runner::built("etcdctl", env!("CARGO_BIN_EXE_etcdctl")));
    etcdctl.args(["--endpoints", &address, "snapshot", "save"]).arg(path);
    let output = tokio::task::spawn_blocking(move || etcdctl.output().expect("etcdctl runs")).await.expect("etcdctl ends");
    server.abort();
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_snapshot_leaves_no_file_and_is_told() {
    let database = database();
    let digest = Sha256::digest(&database);
    let mut damaged = database.clone();
    damaged[2 * 4096 + 8..2 * 4096 + 10].copy_from_slice(&[0xff; 2]);
    let digest_of_damaged = Sha256::digest(&damaged);
    let cases: [(&str, Messages, &str); 5] = [
        ("another digest", vec![piece(&database), piece(&[7; 32])], "the snapshot does not verify, so there is no "),
        ("damaged pages", vec![piece(&damaged), piece(&digest_of_damaged)], "page 2, byte "),
        ("no digest", vec![piece(&database)], "sha256 checksum not found [bytes: "),
        (
            "an error",
            vec![piece(&database), Err(Status::unknown("no more"))],
            "could not write snapshot: rpc error: code = Unknown desc = no more",
        ),
        ("nothing", vec![], "sha256 checksum not found [bytes: 0]"),
    ];
    for (what, messages, why) in cases {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s.db");
        std::fs::write(&path, "an older backup").expect("a file can be written");
        let output = save(messages, &path).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{what}: {said}");
        assert!(said.lines().last().is_some_and(|line| line.starts_with("Error: ") && line.contains(why)), "{what}: {said}");
        assert!(output.stdout.is_empty(), "{what}");
        assert_eq!(std::fs::read(&path).expect("the file is there"), b"an older backup", "{what}: what was there before stays");
        assert_eq!(std::fs::read_dir(dir.path()).expect("the directory can be read").count(), 1, "{what}: nothing else is left");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s.db");
    let output = save(vec![piece(&database), piece(&digest)], &path).await;
    assert!(output.status.success() && path.exists(), "{output:?}");
}
