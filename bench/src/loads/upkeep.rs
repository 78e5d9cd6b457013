//! What a server does beside serving: compaction, defragmentation, snapshots, and nothing at all.

use std::cell::Cell;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use etcd::wire::etcdserverpb::{
    CompactionRequest, CompactionResponse, DefragmentRequest, DefragmentResponse, RangeRequest, RangeResponse, SnapshotRequest,
    SnapshotResponse,
};

use super::{Bench, VALUE_LEN, fill, fill_with, putter, value};
use crate::client::{Connection, Method};
use crate::drive::{Tally, measured, spawn_clients};
use crate::report::Row;
use crate::server::Server;

const KEYS: usize = 50_000;
const ROUNDS: usize = 9;
const PUTTERS: usize = 10;
const PUTTER_PAUSE: Duration = Duration::from_millis(2);
const WARM_UP: Duration = Duration::from_secs(1);

pub async fn compaction(bench: Bench) -> Result<Vec<Row>> {
    let server = bench.start().await?;
    for _ in 0..ROUNDS {
        fill(&server, KEYS, VALUE_LEN).await?;
    }
    let control = Connection::open(server.address).await?;
    let head: RangeResponse = control.ask(Method::Range, &RangeRequest { key: "k".into(), ..Default::default() }).await?;
    let revision = head.header.unwrap_or_default().revision;

    let compact = async {
        let start = Instant::now();
        let request = CompactionRequest { revision, physical: true };
        let done = control.ask::<CompactionResponse>(Method::Compact, &request).await.map(drop);
        // Its effects outlast it.
        tokio::time::sleep(bench.seconds).await;
        (done, start.elapsed() - bench.seconds)
    };
    let mut rows = vec![under_puts(&server, "compaction of 450k records, puts", compact).await?];
    let defragment = async {
        let start = Instant::now();
        let done = control.ask::<DefragmentResponse>(Method::Defragment, &DefragmentRequest {}).await.map(drop);
        let took = start.elapsed();
        tokio::time::sleep(Duration::from_secs(1)).await;
        (done, took)
    };
    rows.push(under_puts(&server, "defragmentation, puts", defragment).await?);
    Ok(rows)
}

/// A snapshot of so many megabytes in values that do not compress.
pub async fn snapshot(bench: Bench, megabytes: usize) -> Result<Vec<Row>> {
    const LEN: usize = 10_000;
    let server = bench.start().await?;
    // No two values near each other have bytes in common.
    let pool = value(1 << 20);
    fill_with(&server, megabytes * 100, 50, move |number| {
        let start = number * 7919 % (pool.len() - LEN);
        pool.slice(start..start + LEN)
    })
    .await?;
    tokio::time::sleep(bench.seconds).await;
    let (quiet, busy) = (format!("before a snapshot of {megabytes} MB, puts"), format!("snapshot of {megabytes} MB, puts"));
    let wait = async {
        tokio::time::sleep(bench.seconds).await;
        (Ok(()), bench.seconds)
    };
    let mut rows = vec![under_puts(&server, &quiet, wait).await?];
    rows[0].unset("took");

    let (before, is_over) = (server.usage()?, Cell::new(false));
    let (mut rss, mut anonymous) = (before.rss_kib, before.rss_anonymous_kib);
    let watch = async {
        while !is_over.get() {
            let now = server.usage()?;
            (rss, anonymous) = (rss.max(now.rss_kib), anonymous.max(now.rss_anonymous_kib));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    let save = async {
        let start = Instant::now();
        let done = download(&server, megabytes << 20).await;
        is_over.set(true);
        (done, start.elapsed())
    };
    let (watched, row) = tokio::join!(watch, under_puts(&server, &busy, save));
    watched?;
    let mut row = row?;
    row.unset("rss peak");
    row.set("rss grown", (rss - before.rss_kib) as f64 / 1024.0);
    row.set("rss anonymous grown", (anonymous - before.rss_anonymous_kib) as f64 / 1024.0);
    rows.push(row);
    rows.extend(by_tools(&bench.tools, server, megabytes).await?);
    Ok(rows)
}

/// The same store saved by `etcdctl`, with nobody and nothing else at work, and the file restored by `etcdutl`, with no server left.
async fn by_tools(tools: &Path, server: Server, megabytes: usize) -> Result<Vec<Row>> {
    let (ctl, utl) = (tools.join("etcdctl"), tools.join("etcdutl"));
    if !ctl.exists() || !utl.exists() {
        eprintln!("there is no etcdctl and etcdutl in {}: what they do is not measured", tools.display());
        return Ok(Vec::new());
    }
    let folder = server.side_folder()?;
    let (file, data) = (folder.join("saved.db"), folder.join("restored"));
    server.settled().await?;
    let mut save = Command::new(&ctl);
    save.args(["--endpoints", &server.address.to_string(), "snapshot", "save"]).arg(&file);
    let saved = timed(&format!("etcdctl snapshot save of {megabytes} MB"), save).await?;
    drop(server);
    let mut restore = Command::new(&utl);
    restore.args(["snapshot", "restore"]).arg(&file).arg("--data-dir").arg(&data);
    let restored = timed(&format!("etcdutl snapshot restore of {megabytes} MB"), restore).await;
    std::fs::remove_dir_all(&folder)?;
    Ok(vec![saved, restored?])
}

async fn timed(load: &str, command: Command) -> Result<Row> {
    let start = Instant::now();
    let done = tokio::process::Command::from(command).stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let took = start.elapsed();
    ensure!(done.status.success(), "{load}: {}", String::from_utf8_lossy(&done.stderr));
    let mut row = Row::new(load);
    row.set("took", took.as_secs_f64() * 1e3);
    Ok(row)
}

/// Reads a snapshot to its end.
async fn download(server: &Server, bytes_min: usize) -> Result<()> {
    // A connection of its own, as a backup has.
    let mut stream = Connection::open(server.address).await?.download(Method::Snapshot, &SnapshotRequest {}).await?;
    let mut bytes = 0;
    loop {
        let piece: SnapshotResponse = stream.next().await?;
        bytes += piece.blob.len();
        // The digest comes last, and a piece before it may be the last of the file.
        if piece.remaining_bytes == 0 && piece.blob.len() == 32 {
            break;
        }
    }
    ensure!(bytes > bytes_min * 9 / 10, "{bytes} bytes are too few for a whole snapshot");
    Ok(())
}

/// Paced puts while `work` is done; what they felt of it, and how long it took.
async fn under_puts(server: &Server, load: &str, work: impl Future<Output = (Result<()>, Duration)>) -> Result<Row> {
    let tally = Tally::new()?;
    let connections = Connection::open_many(server.address, PUTTERS).await?;
    spawn_clients(PUTTERS, PUTTER_PAUSE, &tally, putter(connections, KEYS, VALUE_LEN));
    tokio::time::sleep(WARM_UP).await;
    let mut answer = (Ok(()), Duration::ZERO);
    let row = measured(load, server, &tally, async { answer = work.await }).await;
    tally.end();
    let mut row = row?;
    answer.0?;
    row.set("took", answer.1.as_secs_f64() * 1e3);
    row.unset("rate");
    row.unset("cpu");
    row.unset("client cpu");
    row.unset("switches");
    Ok(row)
}

pub async fn idle(bench: Bench) -> Result<Vec<Row>> {
    let server = bench.start().await?;
    tokio::time::sleep(WARM_UP).await;
    // CPU time comes in steps of ten milliseconds: a short look would see none.
    let seconds = bench.seconds.max(Duration::from_secs(10));
    let before = server.usage()?;
    tokio::time::sleep(seconds).await;
    let after = server.usage()?;
    let mut row = Row::new("idle, empty");
    row.set("idle cpu", (after.cpu - before.cpu).as_secs_f64() * 1e3 / seconds.as_secs_f64());
    row.set("rss", after.rss_kib as f64 / 1024.0);
    row.set("rss anonymous", after.rss_anonymous_kib as f64 / 1024.0);
    Ok(vec![row])
}
