//! Programs that others wrote the client library of: etcd's own Go client, and a Python client, each against a server of its own.
//!
//! ```text
//!   go build tests/clients/go ──► clients ENDPOINT SCENARIO ─┐
//!   pip install, once         ──► scenario.py PORT           ┴──► server
//! ```
//!
//! A toolchain that is missing is a failure, since a test that did not run proves nothing; `ETCD_CLIENTS_SKIP=go,python` accepts it,
//! and the reason is printed.

#[path = "../harness/mod.rs"]
mod harness;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use harness::Server;
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
};

/// How long a scenario may take, its waiting for leases to end included.
const DEADLINE: Duration = Duration::from_secs(150);

/// True if the toolchain need not be there.
fn is_skipped(toolchain: &str, reason: &str) -> bool {
    let skipped = std::env::var("ETCD_CLIENTS_SKIP").unwrap_or_default();
    let is_skipped = skipped.split(',').any(|name| name == toolchain);
    if is_skipped {
        println!("skipped, as ETCD_CLIENTS_SKIP={skipped} allows: {reason}");
    }
    is_skipped
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn outputs() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Runs a tool to its end.
fn run(tool: &mut std::process::Command) -> Result<(), String> {
    let done = tool.output().map_err(|error| format!("{tool:?}: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("{tool:?}: {}\n{}{}", done.status, String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)))
}

/// The Go program, built once for all scenarios; or why there is none.
fn go_program() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || {
        let program = outputs().join("go-clients");
        let mut go = std::process::Command::new("go");
        run(go.current_dir(sources().join("go")).args(["build", "-buildvcs=false", "-o"]).arg(&program).arg("."))?;
        Ok(program)
    };
    BUILT.get_or_init(build).clone()
}

/// A Python with the client library, in an environment of its own; or why there is none.
fn python() -> Result<PathBuf, String> {
    let home = outputs().join("python-clients");
    let python = home.join("bin/python");
    if !python.exists() {
        run(std::process::Command::new("python3").args(["-m", "venv"]).arg(&home))?;
    }
    let requirements = sources().join("python/requirements.txt");
    run(std::process::Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements))?;
    Ok(python)
}

fn started(program: &mut Command) -> Child {
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("the program starts")
}

/// Waits for the end; the program has said "done" and nothing else went wrong.
async fn finish(what: &str, child: Child, server: &mut Server) {
    let done = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
    let done = done.unwrap_or_else(|_| panic!("{what} does not end\n{}", server.log_tail())).expect("the program's output");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let is_good = done.status.success() && out.trim_end().ends_with("done");
    assert!(is_good, "{what}: {}\n{out}{err}\n{}", done.status, server.log_tail());
    assert!(server.is_alive(), "{what}: the server ended\n{}", server.log_tail());
}

/// Runs one scenario of the Go program.
async fn go(scenario: &str) {
    let program = match go_program() {
        Ok(program) => program,
        Err(reason) if is_skipped("go", &reason) => return,
        Err(reason) => panic!("the Go client cannot be built: {reason}"),
    };
    let mut server = Server::start(&harness::ours(), &[]).await;
    let mut child = started(Command::new(program).arg(server.endpoint()).arg(scenario));
    if scenario == "survive" {
        wait_for_line(&mut child, "halfway").await;
        server.kill();
        server.start_again().await;
    }
    finish(scenario, child, &mut server).await;
}

/// Reads the program's output up to this line, and not a byte more: the rest is for `finish`.
async fn wait_for_line(child: &mut Child, wanted: &str) {
    let output = child.stdout.as_mut().expect("the output is piped");
    let mut text = String::new();
    while !text.ends_with(&format!("{wanted}\n")) {
        let byte = tokio::time::timeout(DEADLINE, output.read_u8()).await.expect("the program goes on");
        text.push(char::from(byte.unwrap_or_else(|error| panic!("the program ended before it said {wanted}: {error}\n{text}"))));
    }
}

#[tokio::test]
async fn go_programs_share_a_configuration() {
    go("configuration").await;
}

#[tokio::test]
async fn go_services_register_by_leases() {
    go("registration").await;
}

#[tokio::test]
async fn go_workers_take_turns_under_a_mutex() {
    go("mutex").await;
}

#[tokio::test]
async fn go_candidates_elect_one_leader() {
    go("election").await;
}

#[tokio::test]
async fn go_transfers_conserve_money_by_stm() {
    go("stm").await;
}

#[tokio::test]
async fn a_kubernetes_store_works_in_go() {
    go("kubernetes").await;
}

#[tokio::test]
async fn go_tools_ask_about_the_cluster() {
    go("cluster").await;
}

#[tokio::test]
async fn go_tools_are_refused_senseless_members() {
    go("members").await;
}

#[tokio::test]
async fn a_go_watch_survives_a_kill_of_the_server() {
    go("survive").await;
}

#[tokio::test]
async fn a_python_program_uses_keys_watches_leases_and_a_lock() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) if is_skipped("python", &reason) => return,
        Err(reason) => panic!("the Python client cannot be installed: {reason}"),
    };
    let mut server = Server::start(&harness::ours(), &[]).await;
    let endpoint = server.endpoint();
    let port = endpoint.rsplit(':').next().expect("a port");
    let child = started(Command::new(python).arg(sources().join("python/scenario.py")).arg(port));
    finish("python", child, &mut server).await;
}
