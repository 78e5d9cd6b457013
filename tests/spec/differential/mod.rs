//! Random operations to our server and to the reference in lockstep: every answer must be the same.
//!
//! ```text
//!   seed ──► World ── Op ──┬──► Side(ours)      ──► Answer ─┐
//!              ▲           └──► Side(reference) ──► Answer ─┴─► equal? ──► next
//!              └────────────── what the answer taught ◄────────┘
//! ```
//!
//! `ETCD_DIFF_SEED` repeats a run, `ETCD_DIFF_OPS` sets its length. A difference is printed with seed, step, request, both answers and
//! the operations before it.

mod generate;

pub use self::generate::prefix_end;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use etcd::wire::etcdserverpb::{AlarmRequest, PutRequest, RangeRequest, WatchCreateRequest};

use self::generate::{FUTURE_STREAMS, SHARED_STREAMS, World, deletes_from_a_key_on};
use crate::{
    harness::{
        self,
        watching::{Seen, WatchStream},
    },
    pair::{
        Answer, Pair, Side,
        op::{LeaseRef, Op, shortened},
    },
};

/// Operations shown before a difference.
const REMEMBERED: usize = 8;

/// Differences after which a run ends.
const MANY: usize = 5;

struct Run {
    seed: u64,
    step: usize,
    world: World,
    pair: Pair,
    /// Open watch streams, ours and the reference's.
    streams: Vec<Option<(WatchStream, WatchStream)>>,
    past: VecDeque<String>,
    /// How often each kind of operation was carried out, and refused.
    tally: BTreeMap<String, (usize, usize)>,
    events: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_operations_are_answered_as_by_the_reference() {
    let seed = harness::seed("ETCD_DIFF_SEED");
    let steps = harness::setting("ETCD_DIFF_OPS", 3_000);
    let started = Instant::now();
    let mut run = Run::start(seed).await;
    for step in 0..steps {
        run.step = step;
        let op = run.world.next();
        let shown = shortened(&format!("{op:?}"), 1_000);
        let performed = tokio::time::timeout(2 * harness::DEADLINE, run.perform(op)).await;
        assert!(performed.is_ok(), "ETCD_DIFF_SEED={seed} step {step}: no answer to {shown}");
    }
    run.finish().await;
    println!("{steps} operations in {:.1?}, last revision {}, {} events", started.elapsed(), run.world.revision, run.events);
    println!("carried out, refused: {:?}", run.tally);
    if steps >= 3_000 {
        assert!(run.events > 100, "the watchers saw too little");
        for kind in ["Range", "RangeStream", "Put", "Txn", "Compact", "HashKv", "Grant", "Revoke"] {
            let (carried_out, refused) = run.tally[kind];
            assert!(carried_out > 0 && refused > 0, "{kind}: {carried_out} carried out, {refused} refused: the run is no test of it");
        }
    }
}

// === impl Run ===

impl Run {
    async fn start(seed: u64) -> Run {
        // Syncing the disk decides nothing here, and both would wait for it at every step.
        let pair = Pair::start(&["--unsafe-no-fsync"]).await;
        let streams = (0..SHARED_STREAMS + FUTURE_STREAMS).map(|_| None).collect();
        let (world, past, tally) = (World::new(seed), VecDeque::new(), BTreeMap::new());
        Run { seed, step: 0, world, pair, streams, past, tally, events: 0 }
    }

    async fn perform(&mut self, op: Op) {
        match &op {
            Op::OpenStream(stream) => self.open_stream(*stream),
            Op::CloseStream(stream) => {
                self.sync().await;
                self.world.streams[*stream] = None;
                self.streams[*stream] = None;
            }
            Op::Watch(stream, request) => self.watch(*stream, request).await,
            Op::Cancel(stream, id) => self.cancel(*stream, *id).await,
            Op::Sync => self.sync().await,
            Op::Compact(_) => {
                // Watchers that lag behind would race with the compaction.
                self.sync().await;
                self.ask(&op).await;
            }
            _ => {
                self.ask(&op).await;
            }
        }
        self.remember(&op);
    }

    /// The same request to both.
    async fn ask(&mut self, op: &Op) -> Answer {
        let reference = match self.pair.ask(op).await {
            Ok(answer) => answer,
            Err((ours, reference)) => {
                let difference = self.difference(&format!("{op:?}"), &ours.text, &reference.text);
                self.note(difference, op.is_read());
                reference
            }
        };
        self.learn(op, &reference);
        let kind = format!("{op:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
        let (carried_out, refused) = self.tally.entry(kind).or_default();
        *if reference.is_ok { carried_out } else { refused } += 1;
        reference
    }

    fn learn(&mut self, op: &Op, answer: &Answer) {
        let world = &mut self.world;
        if let (Some(revision), false) = (answer.revision, matches!(op, Op::Members { .. })) {
            assert!(revision >= world.revision, "seed {} step {}: revision {revision} after {}", self.seed, self.step, world.revision);
            world.revision = revision;
        }
        match op {
            _ if !answer.is_ok => {}
            Op::Compact(request) => {
                world.compacted = request.revision;
                world.compactions.push(request.revision);
            }
            Op::Grant(LeaseRef::Chosen(id), _) => world.chosen_leases.push(*id),
            Op::Grant(LeaseRef::Generated(number), _) => {
                world.generated_leases.push(*number);
                world.generated_count += 1;
            }
            Op::Txn(request) if deletes_from_a_key_on(request) => world.replaced.extend(answer.revision),
            Op::Revoke(LeaseRef::Chosen(id)) => world.chosen_leases.retain(|lease| lease != id),
            Op::Revoke(LeaseRef::Generated(number)) => world.generated_leases.retain(|lease| lease != number),
            _ => {}
        }
    }

    fn open_stream(&mut self, stream: usize) {
        let open = |side: &Side| WatchStream::open(&side.clients.watch);
        self.streams[stream] = Some((open(&self.pair.ours), open(&self.pair.reference)));
        self.world.streams[stream] = Some(Vec::new());
    }

    async fn watch(&mut self, stream: usize, request: &WatchCreateRequest) {
        let (ours, reference) = self.both(stream);
        let (one, other) = tokio::join!(ours.create(request.clone()), reference.create(request.clone()));
        if one != other {
            let difference = self.difference(&format!("{request:?} on stream {stream}"), &format!("id {one}"), &format!("id {other}"));
            self.note(difference, false);
        }
        if request.start_revision > 0 && request.start_revision < self.world.compacted && one != -1 {
            self.sync().await;
            let (ours, reference) = self.both(stream);
            assert!(!ours.is_live(one) && !reference.is_live(one), "a watcher of compacted revisions lives: {request:?}");
        }
        let live = self.both(stream).1.live();
        self.world.streams[stream] = Some(live);
    }

    async fn cancel(&mut self, stream: usize, id: i64) {
        self.sync().await;
        let (ours, reference) = self.both(stream);
        if reference.is_live(id) {
            tokio::join!(ours.cancel(id), reference.cancel(id));
        } else {
            // No answer (WAT-10): the next comparison would show one.
            tokio::join!(ours.send_cancel(id), reference.send_cancel(id));
        }
        let live = self.both(stream).1.live();
        self.world.streams[stream] = Some(live);
    }

    fn both(&mut self, stream: usize) -> &mut (WatchStream, WatchStream) {
        self.streams[stream].as_mut().expect("the stream is open")
    }

    /// Brings every watcher that is not of the future level, and compares what all have seen.
    async fn sync(&mut self) {
        if self.world.streams.iter().all(Option::is_none) {
            return;
        }
        // An alarm would refuse the put below.
        if self.world.alarm.is_some() {
            let disarm = self.world.disarm();
            self.ask(&disarm).await;
        }
        // A revision of its own, so that progress to it was certainly asked for after every create so far.
        let mark = PutRequest { key: "sync".into(), ..Default::default() };
        self.ask(&Op::Put(mark)).await;
        let revision = self.world.revision;
        for stream in 0..self.world.streams.len() {
            if self.world.streams[stream].is_none() {
                continue;
            }
            let (ours, reference) = self.both(stream);
            let are_level = tokio::join!(level(ours, revision), level(reference, revision));
            let (ours, reference) = (ours.take_seen(), reference.take_seen());
            self.events += reference.values().flatten().filter(|seen| matches!(seen, Seen::Event(_))).count();
            let live = self.both(stream).1.live();
            if ours != reference {
                let ids: Vec<_> = reference.keys().chain(ours.keys()).filter(|id| ours.get(id) != reference.get(id)).collect();
                let show = |seen: Option<_>| format!("{seen:#?}");
                let id = ids[0];
                let what = format!("watcher {id} of stream {stream}, level {are_level:?} at {revision}");
                let difference = self.difference(&what, &show(ours.get(id)), &show(reference.get(id)));
                self.note(difference, true);
            }
            self.world.streams[stream] = Some(live);
            // Whether waiting for progress let go of their ids depended on the side.
            let (ours, reference) = self.both(stream);
            tokio::join!(ours.release_compacted(), reference.release_compacted());
        }
    }

    /// At the end: the same events, the same store, the same hash, and both servers alive.
    async fn finish(&mut self) {
        self.sync().await;
        let everything = RangeRequest { key: b"\0"[..].into(), range_end: b"\0"[..].into(), ..Default::default() };
        for op in [
            Op::Range(everything),
            Op::HashKv(0),
            Op::Leases,
            Op::Status,
            Op::Members { linearizable: true },
            Op::Alarm(AlarmRequest::default()),
        ] {
            let answer = self.ask(&op).await;
            assert!(answer.is_ok, "{op:?}: {}", answer.text);
        }
        self.pair.conclude();
    }

    fn remember(&mut self, op: &Op) {
        self.past.push_back(format!("{}: {}", self.step, shortened(&format!("{op:?}"), 1_500)));
        if self.past.len() > REMEMBERED {
            self.past.pop_front();
        }
    }

    /// A difference in what was read leaves both stores the same, so the run goes on for more; any other ends it.
    fn note(&mut self, difference: String, is_read: bool) {
        self.pair.differences.push(difference);
        if !is_read || self.pair.differences.len() >= MANY {
            self.pair.conclude();
        }
    }

    fn difference(&self, what: &str, ours: &str, reference: &str) -> String {
        let past: Vec<_> = self.past.iter().map(String::as_str).collect();
        // Long answers are shown from a little before the first difference on.
        let same = ours.lines().zip(reference.lines()).take_while(|(one, other)| one == other).count();
        let from = |text: &str| text.lines().skip(same.saturating_sub(12)).collect::<Vec<_>>().join("\n");
        let (ours, reference) = (&from(ours), &from(reference));
        format!(
            "ETCD_DIFF_SEED={} step {} (revision {}, compacted {})\n--- operations before\n{}\n--- asked\n{}\n--- ours\n{}\n--- reference\n{}\n",
            self.seed,
            self.step,
            self.world.revision,
            self.world.compacted,
            past.join("\n"),
            shortened(what, 4_000),
            shortened(ours, 8_000),
            shortened(reference, 8_000),
        )
    }
}

/// Waits until the stream has told everything up to `revision`, unless a watcher of it waits for a later one.
async fn level(stream: &mut WatchStream, revision: i64) -> bool {
    let is_future = stream.starts().any(|start| start > revision);
    if is_future {
        stream.drain();
    } else {
        stream.reach(revision).await;
    }
    !is_future
}
