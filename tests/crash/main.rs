//! The server is killed at random moments while it is written to, read and watched; nothing that it said may turn out untrue.
//!
//! ```text
//!   writers ── unique values ──► server ◄── SIGKILL, start again, N times
//!      │ attempts                   │
//!      ▼                            ▼ events, resumed after each kill
//!   history::check ◄──────────── watchers
//! ```
//!
//! Checked: every acknowledged write is in the history at the revision that it was told, whatever is there was written by someone
//! and once, revisions never go back, readers see what was acknowledged before they asked, watchers see all of the history and
//! nothing twice, and a clean restart changes nothing. `ETCD_CRASH_SEED` repeats the plan, `ETCD_CRASH_ROUNDS` sets its length.

#[path = "../harness/mod.rs"]
mod harness;

mod history;
mod traffic;

use std::{sync::Arc, time::Duration};

use etcd::wire::{
    etcdserverpb::{CompactionRequest, HashKvRequest, HashKvResponse, RangeRequest, RangeResponse},
    mvccpb::Event,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use self::{
    harness::{Clients, Server},
    history::Writer,
    traffic::Shared,
};

const WRITERS: u64 = 4;
const WATCHERS: usize = 2;
/// How far behind the slowest watcher a compaction stays.
const KEPT: i64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_nothing_that_was_acknowledged() {
    let seed = harness::seed("ETCD_CRASH_SEED");
    let rounds: u64 = harness::setting("ETCD_CRASH_ROUNDS", 10);
    let mut rng = StdRng::seed_from_u64(seed);
    // A low count, so that kills also meet the log being cut.
    let mut server = Server::start(&harness::ours(), &["--snapshot-count=100", "--snapshot-catchup-entries=20"]).await;
    let shared = Arc::new(Shared::new(server.clients(), WATCHERS));
    let readers = tokio::spawn(traffic::read(shared.clone()));
    let watchers: Vec<_> = (0..WATCHERS).map(|number| tokio::spawn(traffic::watch(shared.clone(), number))).collect();
    let writers: Vec<_> = (0..WRITERS).map(|number| tokio::spawn(traffic::write(shared.clone(), number, seed))).collect();

    let mut compacted = 0;
    for round in 1..=rounds {
        // The fault's moment is what the seed plans; nothing waits for it.
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..900))).await;
        server.kill();
        server.start_again().await;
        shared.restarted(round);
        compacted = compact(&shared, compacted).await;
    }
    shared.finish();
    let mut attempts: Vec<Writer> = Vec::new();
    for writer in writers {
        attempts.push(writer.await.expect("a writer"));
    }
    readers.await.expect("the reader");
    let mut clients = server.clients();
    let (state, hash) = look(&mut clients).await;
    let last = state.header.expect("a header").revision;
    assert!(last >= shared.acknowledged(), "revision {last} below the acknowledged {}", shared.acknowledged());
    shared.watch_up_to(last);
    let mut seen: Vec<Vec<Event>> = Vec::new();
    for watcher in watchers {
        seen.push(watcher.await.expect("a watcher"));
    }

    let acknowledged = history::check(&seen[0], &attempts, last);
    assert!(acknowledged >= rounds, "{acknowledged} acknowledged writes in {rounds} rounds are no test");
    assert!(seen.iter().all(|other| *other == seen[0]), "watchers saw different histories");
    assert_eq!(history::fold(&seen[0]), state.kvs, "the history leads to another state");
    let tail = traffic::replay(&clients, compacted.max(1), last).await;
    let kept: Vec<_> = seen[0].iter().filter(|event| history::revision(event) >= compacted).cloned().collect();
    assert_eq!(tail, kept, "the history that is left is another than the one that was watched");

    server.stop().await;
    server.start_again().await;
    let (state_again, hash_again) = look(&mut server.clients()).await;
    assert_eq!(state_again.kvs, state.kvs);
    assert_eq!(state_again.header.map(|header| header.revision), Some(last));
    assert_eq!((hash_again.hash, hash_again.compact_revision), (hash.hash, hash.compact_revision));
    println!("{rounds} kills, {acknowledged} acknowledged writes, {} events, last revision {last}", seen[0].len());
}

/// Compacts well below what every watcher has seen, so that all can resume.
async fn compact(shared: &Shared, compacted: i64) -> i64 {
    let revision = shared.watched() - KEPT;
    if revision <= compacted {
        return compacted;
    }
    shared.clients().kv.compact(CompactionRequest { revision, physical: false }).await.expect("a compaction");
    revision
}

async fn look(clients: &mut Clients) -> (RangeResponse, HashKvResponse) {
    let everything = RangeRequest { key: b"\0"[..].into(), range_end: b"\0"[..].into(), ..Default::default() };
    let state = clients.kv.range(everything).await.expect("a read").into_inner();
    let revision = state.header.as_ref().expect("a header").revision;
    (state, clients.maintenance.hash_kv(HashKvRequest { revision }).await.expect("a hash").into_inner())
}
