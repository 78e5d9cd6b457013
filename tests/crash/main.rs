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

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

use self::{
    harness::Server,
    traffic::{Crew, Shared},
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
    let mut crew = Crew::start(Shared::new(server.clients(), WATCHERS), WRITERS, seed, KEPT);

    for round in 1..=rounds {
        // The fault's moment is what the seed plans; nothing waits for it.
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..900))).await;
        server.kill();
        server.start_again().await;
        crew.shared.restarted(round);
        crew.compact().await;
    }
    let outcome = crew.end().await;
    let acknowledged = outcome.acknowledged;
    assert!(acknowledged >= rounds, "{acknowledged} acknowledged writes in {rounds} rounds are no test");

    server.stop().await;
    server.start_again().await;
    outcome.must_be_unchanged(&mut server.clients()).await;
    println!("{rounds} kills, {acknowledged} acknowledged writes, {} events, last revision {}", outcome.events.len(), outcome.last());
}
