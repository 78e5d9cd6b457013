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

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use etcd::wire::{
    etcdserverpb::{CompactionRequest, HashKvRequest, HashKvResponse, RangeRequest, RangeResponse},
    mvccpb::Event,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use self::{fault::Fault, harness::Clients, history::Writer, lease::Holder, member::Member, traffic::Shared, volume::Volume};

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

    let shared = Arc::new(Shared::new(member.clients(), WATCHERS).on_a_volume_that_fills_up());
    let reader = tokio::spawn(traffic::read(shared.clone()));
    let watchers: Vec<_> = (0..WATCHERS).map(|number| tokio::spawn(traffic::watch(shared.clone(), number))).collect();
    let writers: Vec<_> = (0..writers).map(|number| tokio::spawn(traffic::write(shared.clone(), number, seed))).collect();
    let mut holder = Holder::default();

    let (mut met, mut compacted) = (0, 0);
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
            shared.restarted(met as u64);
            compacted = compact(&shared, compacted).await;
        }
    }

    shared.finish();
    let mut attempts: Vec<Writer> = Vec::new();
    for writer in writers {
        attempts.push(writer.await.expect("a writer"));
    }
    reader.await.expect("the reader");
    let (state, hash) = look(&mut member.clients()).await;
    let last = state.header.expect("a header").revision;
    assert!(last >= shared.acknowledged(), "revision {last} below the acknowledged {}", shared.acknowledged());
    shared.watch_up_to(last);
    let mut seen: Vec<Vec<Event>> = Vec::new();
    for watcher in watchers {
        seen.push(watcher.await.expect("a watcher"));
    }

    let acknowledged = history::check(&seen[0], &attempts, last);
    assert!(acknowledged >= 100 * met as u64, "{acknowledged} acknowledged writes over {met} faults are no load");
    assert!(seen.iter().all(|other| *other == seen[0]), "watchers saw different histories");
    assert_eq!(history::fold(&seen[0]), state.kvs, "the history leads to another state");
    let tail = traffic::replay(&member.clients(), compacted.max(1), last).await;
    let kept: Vec<_> = seen[0].iter().filter(|event| history::revision(event) >= compacted).cloned().collect();
    assert_eq!(tail, kept, "the history that is left is another than the one that was watched");
    holder.check(&mut member.clients()).await;

    member.terminate();
    member.end().await;
    member.start().await;
    let (state_again, hash_again) = look(&mut member.clients()).await;
    assert_eq!(state_again.kvs, state.kvs);
    assert_eq!((hash_again.hash, hash_again.compact_revision), (hash.hash, hash.compact_revision));
    holder.check(&mut member.clients()).await;
    println!("{met} faults, {acknowledged} acknowledged writes, {} leases, last revision {last}", holder.len());
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
