//! What one operation costs a member in allocations and context switches: counted, printed and bounded. Both are the same
//! on a slow machine and on a fast one, so that a bound means something where a time would not.
//!
//! ```text
//!   this program ── runs itself as the server, with an allocator that counts ──► the whole member on loopback
//!        │  asks --cost-port for the allocations up to now, /proc for the context switches
//!        └─ puts and gets, one client and many
//! ```
//!
//! The bounds are what was seen and a quarter more (allocations), or twice as much (context switches, which depend on what
//! else the machine does). A change that passes them has a reason to give.

#[path = "../harness/mod.rs"]
mod harness;

use std::{
    alloc::System,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::ExitCode,
};

use etcd::{
    config::{self, Outcome},
    wire::etcdserverpb::{PutRequest, RangeRequest},
};
use harness::{Clients, Server, free_port, runner::is_emulated};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const COST_PORT: &str = "--cost-port=";

/// An operation under measurement, and the most that one of it may cost.
struct Load {
    name: &'static str,
    is_put: bool,
    clients: usize,
    /// Operations of each client.
    count: usize,
    allocations_max: f64,
    switches_max: f64,
}

const LOADS: [Load; 4] = [
    Load { name: "put, 1 client", is_put: true, clients: 1, count: 2_000, allocations_max: 54.0, switches_max: 14.0 },
    Load { name: "put, 100 clients", is_put: true, clients: 100, count: 200, allocations_max: 35.0, switches_max: 0.7 },
    Load { name: "get, 1 client", is_put: false, clients: 1, count: 2_000, allocations_max: 23.0, switches_max: 4.0 },
    Load { name: "get, 100 clients", is_put: false, clients: 100, count: 200, allocations_max: 23.0, switches_max: 0.3 },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // What runs tests asks for their names first, and for the ignored ones apart.
    if words.iter().any(|word| word == "--list") {
        if !words.iter().any(|word| word == "--ignored") {
            println!("operations_cost_what_they_may: test");
        }
        return ExitCode::SUCCESS;
    }
    match words.iter().find_map(|word| word.strip_prefix(COST_PORT)) {
        Some(port) => serve(port.parse().expect("a port"), &words),
        None => measure(),
    }
}

/// The server as its program starts it, and beside it a port that answers with the allocations up to now.
fn serve(port: u16, words: &[String]) -> ExitCode {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // An asker that went away is none of the server's business.
            let _ = stream.and_then(|mut stream| write!(stream, "{}", ALLOCATOR.stats().allocations));
        }
    });
    let words: Vec<String> = words.iter().filter(|word| !word.starts_with(COST_PORT)).cloned().collect();
    match config::parse(&words, &[]) {
        Outcome::Run(config) => etcd::server::main(&config),
        _ => panic!("the flags of the harness are refused: {words:?}"),
    }
}

/// Allocations and context switches of the server up to now. There are no context switches to be read but on Linux, and an
/// emulator's are not the server's.
#[derive(Clone, Copy)]
struct Counts {
    allocations: u64,
    switches: Option<u64>,
}

fn counts(server: &Server, port: u16) -> Counts {
    let mut text = String::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the counting port answers");
    stream.read_to_string(&mut text).expect("a number comes");
    Counts { allocations: text.parse().expect("a number"), switches: switches(server.pid()).filter(|_| !is_emulated()) }
}

fn switches(pid: u32) -> Option<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let of_task = |status: String| -> u64 {
        let lines = status.lines().filter(|line| line.contains("voluntary_ctxt_switches"));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    };
    // A thread that ended meanwhile has none to add.
    Some(tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok()).map(of_task).sum())
}

async fn client(clients: &mut Clients, load: &Load, number: usize) {
    for turn in 0..load.count {
        let key = format!("key-{:06}", (number * load.count + turn) % 10_000);
        if load.is_put {
            let put = PutRequest { key: key.into(), value: vec![7; 256].into(), ..Default::default() };
            clients.kv.put(put).await.expect("a put is answered");
        } else {
            let get = RangeRequest { key: key.into(), ..Default::default() };
            clients.kv.range(get).await.expect("a get is answered");
        }
    }
}

/// Ten clients share a connection, as in `cargo ci versus`.
async fn run(server: &Server, load: &Load) {
    let channels: Vec<Clients> = (0..load.clients.div_ceil(10)).map(|_| server.clients()).collect();
    let tasks = (0..load.clients).map(|number| {
        let mut clients = channels[number / 10].clone();
        async move { client(&mut clients, load, number).await }
    });
    futures_util::future::join_all(tasks).await;
}

#[tokio::main(flavor = "current_thread")]
async fn measure() -> ExitCode {
    let port = free_port();
    let program = std::env::current_exe().expect("a test knows its program");
    let server = Server::start(&program, &["--log-level=error", &format!("{COST_PORT}{port}")]).await;
    let mut is_over = false;
    for load in &LOADS {
        // Connections, caches and buffers first.
        run(&server, load).await;
        let before = counts(&server, port);
        run(&server, load).await;
        let after = counts(&server, port);
        let each = |from: u64, to: u64| (to - from) as f64 / (load.clients * load.count) as f64;
        let allocations = each(before.allocations, after.allocations);
        let switches = before.switches.zip(after.switches).map(|(from, to)| each(from, to));
        let is_dear = allocations > load.allocations_max || switches.is_some_and(|switches| switches > load.switches_max);
        is_over |= is_dear;
        println!(
            "{:<18} {allocations:6.1} allocations (at most {:.0})   {:>6} context switches (at most {:.1}){}",
            load.name,
            load.allocations_max,
            switches.map_or("?".into(), |switches| format!("{switches:.2}")),
            load.switches_max,
            if is_dear { "   TOO MANY" } else { "" }
        );
    }
    if is_over { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
