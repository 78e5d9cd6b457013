//! The simulator: one member on one thread, its disk, its clock and its clients, stepped in an order that a seed draws.
//!
//! ```text
//!   SIM_SEED=17 cargo test --test sim      one seed, with its trace
//!   SIM_SEEDS=20000 cargo test --test sim  so many of them
//! ```
//!
//! The driver, log, applier, state machine, hub and deadlines are the product's own; what lies around them is `member`. A failure
//! names its seed, and a seed repeats itself to the letter.

mod bug;
mod commands;
mod disk;
mod member;
mod model;
mod seam;
mod watching;
mod world;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use bug::Bug;
use world::World;

const SEEDS: u64 = 1000;
/// The steps of the disk, and those of the member after which something survives.
const DURABLE: [&str; 14] = [
    "CreateDir",
    "Create",
    "Write",
    "Allocate",
    "SetLen",
    "Sync",
    "Rename",
    "Remove",
    "SyncDir",
    "after WriteLog",
    "after SyncLog",
    "after Write",
    "after FlushEngine",
    "after TellFlushed",
];
/// Lines of the trace that a failure shows.
const TRACE_LINES: usize = 40;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs one seed; the failure, if there is one, with all that is needed to look at it.
fn run(seed: u64, bug: Bug) -> (World, Result<(), String>) {
    let mut world = World::new(seed, bug);
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    let done = done.map_err(|what| {
        let from = world.trace.len().saturating_sub(TRACE_LINES);
        format!("SIM_SEED={seed}, step {}: {what}\n{}", world.step, world.trace[from..].join("\n"))
    });
    (world, done)
}

#[test]
fn every_seed_keeps_what_was_promised() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let (mut crashes, mut acknowledged, mut events, mut refused) = (0, 0, 0, 0);
    let mut at: BTreeMap<String, u64> = BTreeMap::new();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let (world, done) = run(seed, Bug::None);
        done.unwrap_or_else(|what| panic!("{what}"));
        crashes += world.crashes;
        acknowledged += world.acknowledged;
        events += world.events();
        refused += usize::from(world.is_refused);
        world.disk.crashes().into_iter().for_each(|(kind, count)| *at.entry(format!("{kind:?}")).or_default() += count);
        world.crashes_after.into_iter().for_each(|(step, count)| *at.entry(format!("after {step}")).or_default() += count);
    }
    println!("{count} seeds: {crashes} crashes, {acknowledged} acknowledged, {events} events, {refused} refused; crashes at {at:#?}");
    if count >= SEEDS {
        for step in DURABLE {
            assert!(at.contains_key(step), "no seed crashes at: {step}");
        }
    }
}

#[test]
fn a_seed_repeats_itself() {
    for seed in 0..5 {
        let (first, second) = (run(seed, Bug::None).0, run(seed, Bug::None).0);
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert!(first.trace.len() > 100, "it did something");
    }
}

/// Bound: seeds that a planted bug may hide in.
const SEEDS_PER_BUG: u64 = 600;

#[test]
fn every_planted_bug_is_caught() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        match (0..SEEDS_PER_BUG).find_map(|seed| run(seed, bug).1.err().map(|what| (seed, what))) {
            Some((_, what)) => println!("{bug:?}: {}", what.lines().next().unwrap_or_default()),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "no check notices {missed:?}");
}
