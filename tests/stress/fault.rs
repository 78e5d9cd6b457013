//! What happens to the member, and how it is over: afterwards it serves again, writes included.

use std::{fs::File, io::Write, path::PathBuf, time::Duration};

use etcd::wire::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use rand::{Rng, rngs::StdRng};
use rustix::process::Signal;

use crate::{
    harness::eventually,
    member::{Member, disarm, has_alarm},
    volume::Volume,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, as a power cut is to a process.
    Kill,
    /// SIGKILL again before it serves.
    KillWhileStarting,
    /// SIGTERM.
    Stop,
    /// SIGSTOP, and SIGCONT later: clients wait, and nothing else.
    Pause,
    KillWhilePaused,
    /// Somebody else writes until nothing is left of the volume: puts are refused, reads and watches are not.
    Full,
    /// The same between two looks at the free space, the reserve included: what is asked then may wait until there is room again.
    FullAtOnce,
    /// And the start after it is on the full volume.
    KillWhileFull,
}

impl Fault {
    pub const ALL: [Fault; 8] = [
        Fault::Kill,
        Fault::KillWhileStarting,
        Fault::Stop,
        Fault::Pause,
        Fault::KillWhilePaused,
        Fault::Full,
        Fault::FullAtOnce,
        Fault::KillWhileFull,
    ];

    pub async fn happen(self, member: &mut Member, volume: &Volume, rng: &mut StdRng) {
        println!("{self:?}");
        match self {
            Fault::Kill => {
                member.kill();
                member.start().await;
            }
            Fault::KillWhileStarting => {
                member.kill();
                for _ in 0..rng.random_range(1..4) {
                    member.spawn(&[]);
                    lasting(rng, 1..60).await;
                    member.kill();
                }
                member.start().await;
            }
            Fault::Stop => {
                member.terminate();
                member.end().await;
                member.start().await;
            }
            Fault::Pause => {
                member.signal(Signal::STOP);
                lasting(rng, 100..1500).await;
                member.signal(Signal::CONT);
                assert!(member.is_ready().await, "a pause ended it\n{}", member.log_text());
            }
            Fault::KillWhilePaused => {
                member.signal(Signal::STOP);
                lasting(rng, 10..300).await;
                member.kill();
                member.start().await;
            }
            Fault::Full => {
                let foreign = fill(member, volume).await;
                lasting(rng, 10..500).await;
                assert!(member.is_alive(), "a full volume ended it\n{}", member.log_text());
                tidied_up(member, foreign).await;
            }
            Fault::FullAtOnce => {
                let foreign = volume.fill();
                lasting(rng, 10..500).await;
                assert!(member.is_alive(), "a full volume ended it\n{}", member.log_text());
                tidied_up(member, foreign).await;
            }
            Fault::KillWhileFull => {
                let foreign = fill(member, volume).await;
                member.kill();
                if starts_on_a_full_volume(member).await {
                    assert_eq!(has_alarm(&mut member.clients()).await.ok(), Some(true), "QUO-6: the alarm outlives a restart");
                    tidied_up(member, foreign).await;
                } else {
                    std::fs::remove_file(foreign).expect("somebody else tidies up");
                    member.start().await;
                    accepts_writes(member).await;
                }
            }
        }
    }
}

/// How long a fault lasts is a part of the plan; nothing waits for it.
async fn lasting(rng: &mut StdRng, millis: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(millis))).await;
}

/// How long somebody else takes for a mebibyte.
const PACE: Duration = Duration::from_millis(3);

async fn fill(member: &Member, volume: &Volume) -> PathBuf {
    let foreign = volume.path().join("somebody-elses");
    let mut file = File::create(&foreign).expect("a file");
    let piece = vec![0; 1 << 20];
    while file.write(&piece).is_ok() {
        tokio::time::sleep(PACE).await;
    }
    let mut clients = member.clients();
    eventually("the alarm is raised", async || has_alarm(&mut clients).await.ok()?.then_some(())).await;
    foreign
}

/// A start needs some room: that of the ballast, which is missing only where the volume was full before and no look came between.
async fn starts_on_a_full_volume(member: &mut Member) -> bool {
    let has_ballast = std::fs::metadata(member.data.join("member/ballast")).is_ok_and(|ballast| ballast.len() > 0);
    member.spawn(&[]);
    if member.is_ready().await {
        return true;
    }
    assert!(!has_ballast, "the ballast was not enough for a start\n{}", member.log_text());
    assert_eq!(member.end().await.code(), Some(1), "{}", member.log_text());
    let why = member.lines_at("error").pop().unwrap_or_default();
    assert!(why.contains("no space for the state engine"), "{why}\n{}", member.log_text());
    println!("did not start without a reserve");
    false
}

/// What a member says that ends because its state engine does not see the room.
const STUCK: &str = "the state engine takes no writes, though the disk has room again";

/// Afterwards writes are accepted. An alarm may still have been on its way when there was room again.
async fn tidied_up(member: &mut Member, foreign: PathBuf) {
    std::fs::remove_file(foreign).expect("somebody else tidies up");
    accepts_writes(member).await;
}

async fn accepts_writes(member: &mut Member) {
    let mut clients = member.clients();
    eventually("a write is accepted", async || {
        if !member.is_alive() {
            assert_eq!(member.end().await.code(), Some(1), "{}", member.log_text());
            assert!(member.lines_at("error").iter().any(|line| line.contains(STUCK)), "{}", member.log_text());
            println!("stuck, and started again");
            member.start().await;
        }
        disarm(&mut clients).await.ok()?;
        // A write without a revision: every revision belongs to one of the writers.
        let lease = clients.lease.lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await.ok()?.into_inner();
        clients.lease.lease_revoke(LeaseRevokeRequest { id: lease.id }).await.ok()
    })
    .await;
}
