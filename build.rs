//! Turns `proto/` into Rust: messages and clients once, service traits of the server a second time with the hot
//! response types replaced by hand-written ones that carry ready-made bytes (`src/wire/hot.rs`).

use std::{collections::BTreeSet, env, fmt::Write as _, path::PathBuf, process::Command};

use tonic_prost_build::FileDescriptorSet;

const PROTOS: &[&str] = &[
    "auth.proto",
    "lease.proto",
    "membership.proto",
    "mvcc.proto",
    "raft.proto",
    "raft_internal.proto",
    "rpc.proto",
    "snap.proto",
    "v3election.proto",
    "v3lock.proto",
    "version.proto",
    "wal.proto",
    "wal_metadata.proto",
    "health.proto",
];

/// Responses whose keys and events the server never decodes: they travel as bytes that were encoded once.
const HOT: &[&str] = &["RangeResponse", "RangeStreamResponse", "PutResponse", "DeleteRangeResponse", "TxnResponse", "WatchResponse"];

fn main() {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-env-changed=ETCD_GIT_SHA");
    // Moves with every commit, so that the commit named is the one that was built; a work tree keeps it elsewhere than `.git`.
    if let Some(path) = output("git", &["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| std::path::Path::new(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
    let fds = protox::compile(PROTOS, ["proto"]).expect("the files under proto/ compile");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));

    tonic_prost_build::configure().bytes(".").build_server(false).compile_fds(fds.clone()).expect("messages and clients are generated");

    let services = out.join("server");
    std::fs::create_dir_all(&services).expect("OUT_DIR is writable");
    std::fs::write(services.join("methods.rs"), methods(&fds)).expect("OUT_DIR is writable");
    let mut config = tonic_prost_build::configure()
        .build_client(false)
        .codec_path("crate::wire::codec::Codec")
        .out_dir(&services)
        .extern_path(".mvccpb", "crate::wire::mvccpb")
        .extern_path(".authpb", "crate::wire::authpb")
        .extern_path(".etcdserverpb", "crate::wire::etcdserverpb")
        .extern_path(".v3lockpb", "crate::wire::v3lockpb")
        .extern_path(".v3electionpb", "crate::wire::v3electionpb")
        .extern_path(".grpc.health.v1", "crate::wire::health");
    for name in HOT {
        config = config.extern_path(format!(".etcdserverpb.{name}"), format!("crate::wire::hot::{name}"));
    }
    config.bytes(".").compile_fds(fds).expect("service traits are generated");

    println!("cargo::rustc-env=ETCD_GIT_SHA={}", git_sha());
    println!("cargo::rustc-env=ETCD_RUST_VERSION={}", rust_version());
}

/// Every method by its path. Asked before a call is dispatched, so that what is unknown is refused in grpc-go's words.
fn methods(fds: &FileDescriptorSet) -> String {
    let (mut names, mut services, mut arms) = (BTreeSet::new(), BTreeSet::new(), String::new());
    for file in &fds.file {
        for service in &file.service {
            let full = format!("{}.{}", file.package(), service.name());
            for method in &service.method {
                let kind = match (method.client_streaming(), method.server_streaming()) {
                    (true, _) => "Streaming",
                    (false, true) => "ServerStreaming",
                    (false, false) => "Unary",
                };
                let value = format!("Method {{ service: Service::{}, kind: Kind::{kind} }}", service.name());
                writeln!(arms, "        \"/{full}/{}\" => {value},", method.name()).expect("a String grows");
            }
            names.insert(service.name().to_owned());
            services.insert(format!("{full:?}"));
        }
    }
    let names: Vec<_> = names.into_iter().collect();
    let services: Vec<_> = services.into_iter().collect();
    format!(
        "#[derive(Clone, Copy, Debug, PartialEq, Eq)]\npub enum Service {{ {} }}\n\n\
         pub fn method(path: &str) -> Option<Method> {{\n    Some(match path {{\n{arms}        _ => return None,\n    }})\n}}\n\n\
         pub fn is_service(name: &str) -> bool {{\n    matches!(name, {})\n}}\n",
        names.join(", "),
        services.join(" | "),
    )
}

/// The commit being built: from the environment (source archives), else from git, else etcd's own placeholder.
fn git_sha() -> String {
    env::var("ETCD_GIT_SHA")
        .ok()
        .or_else(|| output("git", &["rev-parse", "--short=9", "HEAD"]))
        .unwrap_or_else(|| "Not provided (use ETCD_GIT_SHA)".into())
}

fn rust_version() -> String {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    output(&rustc, &["--version"]).and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_else(|| "unknown".into())
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let done = Command::new(program).args(args).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
}
