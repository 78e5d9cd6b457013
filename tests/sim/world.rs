//! One seed: a member, its disk and clock, and clients, stepped one at a time in an order that the seed draws.
//!
//! ```text
//!   run:  step, step, ..  ---> a crash at a step of the disk, or between two: restart on what is left
//!           |                       |
//!           +-- invariants          +-- nothing that anybody was told of is gone
//!         settle: all clients are answered, all watchers level, state = model; then time passes and all leases end
//! ```
//!
//! Holds the truth: entries as the driver handed them out first. What is handed out at an index is the same for ever after.

#[path = "checks.rs"]
mod checks;
#[path = "steps.rs"]
mod steps;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd::consensus::{Entry, EntryKind, Role};
use etcd::lease::{Deadlines, Renewal};
use etcd::mvcc::{Scan, Step as ScanStep};
use etcd::node;
use etcd::state_machine::{Action, Caller, Command, Reply};
use etcd::wal;
use etcd::wire::error::Error;
use etcd::wire::etcdserverpb::{LeaseRevokeRequest, RangeRequest};
use etcd::wire::mvccpb::KeyValue;
use prost::Message as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::bug::Bug;
use crate::commands::{self, Pending, answer_of};
use crate::disk::{Disk, Loss, Mood};
use crate::member::{ELECTION, Member, Phase, Stop, wrong};
use crate::model::{Answer, Model};
use crate::seam::Seam;
use crate::watching::Watching;

/// Micro-steps of a seed before it settles.
const STEPS: usize = 800;
/// Bound: commands whose clients wait.
const PENDING_MAX: usize = 6;
/// Bound: steps until a member that is left alone rests.
const SETTLE_MAX: usize = 20_000;
/// After this long a client gives up; its command may be applied all the same.
const PATIENCE: Duration = Duration::from_secs(7);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Take,
    Ready,
    PersistedInline,
    WriteLog,
    SyncLog,
    Stage,
    Write,
    Merge,
    Offer,
    Publish,
    MoveDeadlines,
    Reply,
    Sweep,
    FlushEngine,
    TellFlushed,
    Look,
    Turn,
    Perform,
    Watch,
    Deliver,
    Command,
    Keepalive,
    Read,
    Scan,
    Clock,
    Mood,
    Check,
    Crash,
}

impl Step {
    const COUNT: usize = Step::Crash as usize + 1;
}

/// What a client may rely on.
#[derive(Clone, Copy, Debug)]
struct Promise {
    ttl: i64,
    /// When the newest grant or keepalive that was answered had been asked for.
    since: Duration,
}

/// A read under way.
struct Reading {
    scan: Scan,
    request: RangeRequest,
    floor: i64,
}

pub struct World {
    bug: Bug,
    rng: StdRng,
    pub disk: Disk,
    engine: Arc<Seam>,
    segment_bytes: u64,
    now: Duration,
    next_look: Duration,
    member: Option<Member>,
    deadlines: Arc<Deadlines>,
    watching: Watching,
    /// How much each step is wanted in this seed: some seeds crash all the time, in some nobody reads, ..
    wants: [u32; Step::COUNT],
    /// How many lives of ten end at a step of the disk.
    deaths: u32,
    model: Model,
    truth: Vec<(u64, EntryKind, Bytes)>,
    /// Entries that had been handed out when this life began.
    handed_out: u64,
    /// This life is open to clients.
    is_open: bool,
    next_id: u64,
    pending: BTreeMap<u64, Pending>,
    /// Revokes of leases that ended by themselves.
    ending: BTreeMap<u64, i64>,
    promises: BTreeMap<i64, Promise>,
    leases: Vec<i64>,
    reading: Option<Reading>,
    /// The newest revision that anybody was told of.
    seen: i64,
    compacted_seen: i64,
    /// In this life.
    published: (i64, i64),
    hashes: BTreeMap<(i64, i64), u32>,
    pub trace: Vec<String>,
    pub step: usize,
    pub crashes: usize,
    last: Step,
    /// Crashes between two steps, by the one before.
    pub crashes_after: BTreeMap<String, u64>,
    pub acknowledged: usize,
    /// The last power failure left holes, so the log may refuse to open.
    has_holes: bool,
    /// It did.
    pub is_refused: bool,
}

impl World {
    pub fn new(seed: u64, bug: Bug) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let watching = Watching::new(bug, &mut rng);
        let mut wants: [u32; Step::COUNT] = std::array::from_fn(|_| [1, 4, 4, 16][rng.random_range(0..4)]);
        wants[Step::Crash as usize] = [0, 1, 2, 8][rng.random_range(0..4)];
        wants[Step::Mood as usize] = [0, 1, 2, 4][rng.random_range(0..4)];
        wants[Step::Clock as usize] = [1, 1, 2, 8][rng.random_range(0..4)];
        let deaths = [1, 2, 5, 8][rng.random_range(0..4)];
        World {
            bug,
            wants,
            deaths,
            disk: Disk::new(bug),
            engine: Seam::new(bug),
            segment_bytes: rng.random_range(1500..6000),
            now: Duration::from_secs(1000),
            next_look: Duration::ZERO,
            member: None,
            deadlines: Arc::new(Deadlines::new(None)),
            watching,
            model: Model::new(),
            truth: Vec::new(),
            handed_out: 0,
            is_open: false,
            next_id: 1000,
            pending: BTreeMap::new(),
            ending: BTreeMap::new(),
            promises: BTreeMap::new(),
            leases: Vec::new(),
            reading: None,
            seen: 1,
            compacted_seen: -1,
            published: (0, -1),
            hashes: BTreeMap::new(),
            trace: Vec::new(),
            step: 0,
            crashes: 0,
            last: Step::Crash,
            crashes_after: BTreeMap::new(),
            acknowledged: 0,
            has_holes: false,
            is_refused: false,
            rng,
        }
    }

    pub fn events(&self) -> usize {
        self.watching.events
    }

    fn note(&mut self, what: impl Into<String>) {
        self.trace.push(format!("{:>4} {:>8.1}s {}", self.step, self.now.as_secs_f64(), what.into()));
    }

    /// Runs the seed to its end.
    pub fn run(&mut self) -> Result<(), String> {
        let done = self.run_steps();
        match done {
            Ok(()) => Ok(()),
            Err(Stop::Wrong(what)) => Err(what),
            Err(Stop::Dead) => Err("the member died of nothing".into()),
        }
    }

    fn run_steps(&mut self) -> Result<(), Stop> {
        while self.step < STEPS && !self.is_refused {
            self.step += 1;
            let done = match self.member {
                None => self.boot(),
                Some(_) => self.act(),
            };
            self.survive(done)?;
        }
        while self.member.is_none() && !self.is_refused {
            let done = self.boot();
            self.survive(done)?;
        }
        if self.is_refused { Ok(()) } else { self.end() }
    }

    /// A member may die of its disk, and of nothing else.
    fn survive(&mut self, done: Result<(), Stop>) -> Result<(), Stop> {
        match done {
            Err(Stop::Dead) if self.disk.has_crashed() || self.disk.mood() == Mood::SyncFails => {
                self.crash();
                Ok(())
            }
            other => other,
        }
    }

    // === life and death ===

    fn crash(&mut self) {
        let loss = match self.rng.random_range(0..20) {
            0..=5 => Loss::Process,
            6 => Loss::Holes,
            _ => Loss::Power,
        };
        self.disk.cut_off();
        self.member = None;
        self.disk.restart(loss, &mut self.rng);
        self.engine.crash();
        self.crashes += 1;
        self.handed_out = self.truth.len() as u64;
        self.is_open = false;
        self.pending.clear();
        self.ending.clear();
        self.reading = None;
        self.published = (0, -1);
        self.has_holes = loss == Loss::Holes;
        if self.bug != Bug::DeadlinesAreKept {
            self.deadlines = Arc::new(Deadlines::new(None));
        }
        self.note(format!("CRASH {loss:?}"));
    }

    fn boot(&mut self) -> Result<(), Stop> {
        // Some lives end at a step of the disk, some of these while they begin.
        if self.step < STEPS && self.rng.random_ratio(self.deaths, 10) {
            let soon = if self.truth.is_empty() { 15 } else { 100 };
            let (steps, is_done) = (self.rng.random_range(1..soon), self.rng.random_bool(0.5));
            self.disk.crash_in(steps, is_done);
        }
        let log = wal::Options { segment_bytes: self.segment_bytes };
        let member = match Member::boot(self.bug, &self.disk, &self.engine, Arc::clone(&self.deadlines), log, self.now) {
            Ok(member) => member,
            Err(_) if self.disk.has_crashed() => return Err(Stop::Dead),
            Err(error) if self.has_holes => {
                self.note(format!("refused: {error}"));
                self.is_refused = true;
                return Ok(());
            }
            Err(error) => return wrong(format!("the member does not start: {error}")),
        };
        let last = member.last_index();
        self.note(format!("boot: applied {}, last {last}, segments {}", member.applier.applied().0, member.segments()));
        if last < self.handed_out {
            return wrong(format!("the log ends at {last}, but entry {} had been handed out", self.handed_out));
        }
        self.watching.restart(member.reader.revision());
        self.next_look = self.now + LOOK_EVERY;
        self.member = Some(member);
        Ok(())
    }
}
