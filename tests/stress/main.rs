//! Load with faults for a bounded time: everything that was acknowledged is there afterwards, once, in order, at its revision.
//!
//! ```text
//!   writers, reader, watchers, leases ──► member on a small volume ◄── killed, paused, stopped, its volume filled, killed while
//!      │                                        │                        paused, while starting and while full; in random order
//!      ▼ attempts                               ▼ events
//!   history::check ◄────────────────────────────┘  then: the state is what the history leads to, leases are there, a restart keeps all
//! ```
//!
//! Every kind of fault is met at least once; then again in new orders until the time is up. `ETCD_STRESS_SECONDS` is that time (10 unless
//! set), `ETCD_STRESS_SEED` repeats the plan, `ETCD_STRESS_WRITERS` sets the load. Mounting a volume needs root and Linux.

#![cfg(target_os = "linux")]

#[path = "../harness/mod.rs"]
mod harness;

#[path = "../crash/history.rs"]
mod history;
#[path = "../faults/member.rs"]
mod member;
#[path = "../crash/traffic.rs"]
mod traffic;
#[path = "../faults/volume.rs"]
mod volume;

mod fault;
mod lease;

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use self::{
    fault::Fault,
    lease::Holder,
    member::Member,
    traffic::{Crew, Shared},
    volume::Volume,
};

const WATCHERS: usize = 3;
/// How far behind the slowest watcher a compaction stays.
const KEPT: i64 = 500;
const VOLUME_MEGABYTES: u64 = 256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_under_load_and_faults() {
    let seed = harness::seed("ETCD_STRESS_SEED");
    let until = Instant::now() + Duration::from_secs(harness::setting("ETCD_STRESS_SECONDS", 10));
    let writers: u64 = harness::setting("ETCD_STRESS_WRITERS", 16);
    let mut rng = StdRng::seed_from_u64(seed);
    let volume = Volume::of(VOLUME_MEGABYTES).expect("a volume can be mounted");
    let notes = tempfile::tempdir().expect("a directory");
    let mut member = Member::new(&harness::ours(), volume.path().join("data"), notes.path(), &[]);
    member.start().await;

    let shared = Shared::new(member.clients(), WATCHERS).on_a_volume_that_fills_up();
    let mut crew = Crew::start(shared, writers, seed, KEPT);
    let mut holder = Holder::default();

    let mut met = 0;
    while met < Fault::ALL.len() || Instant::now() < until {
        let mut plan = Fault::ALL;
        plan.shuffle(&mut rng);
        for fault in plan {
            if met >= Fault::ALL.len() && Instant::now() >= until {
                break;
            }
            holder.grant(&mut member.clients()).await;
            // The fault's moment is what the seed plans; nothing waits for it.
            tokio::time::sleep(Duration::from_millis(rng.random_range(50..700))).await;
            fault.happen(&mut member, &volume, &mut rng).await;
            met += 1;
            crew.shared.restarted(met as u64);
            crew.compact().await;
        }
    }

    let outcome = crew.end().await;
    let acknowledged = outcome.acknowledged;
    assert!(acknowledged >= 100 * met as u64, "{acknowledged} acknowledged writes over {met} faults are no load");
    holder.check(&mut member.clients()).await;

    member.terminate();
    member.end().await;
    member.start().await;
    outcome.must_be_unchanged(&mut member.clients()).await;
    holder.check(&mut member.clients()).await;
    println!("{met} faults, {acknowledged} acknowledged writes, {} leases, last revision {}", holder.len(), outcome.last());
}
