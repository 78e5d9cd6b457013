//! What happens to the member, and how it is over: afterwards it serves again, writes included.

use std::time::Duration;

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
    /// Somebody else takes all that is left of the volume: puts are refused, reads and watches are not.
    Full,
    /// And the start after it is on the full volume.
    KillWhileFull,
}

impl Fault {
    pub const ALL: [Fault; 7] =
        [Fault::Kill, Fault::KillWhileStarting, Fault::Stop, Fault::Pause, Fault::KillWhilePaused, Fault::Full, Fault::KillWhileFull];

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
            Fault::KillWhileFull => {
                let foreign = fill(member, volume).await;
                member.kill();
                member.start().await;
                assert!(has_alarm(&mut member.clients()).await, "QUO-6: the alarm outlives a restart");
                tidied_up(member, foreign).await;
            }
        }
    }
}

/// How long a fault lasts is a part of the plan; nothing waits for it.
async fn lasting(rng: &mut StdRng, millis: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(millis))).await;
}

async fn fill(member: &Member, volume: &Volume) -> std::path::PathBuf {
    let foreign = volume.fill();
    let mut clients = member.clients();
    eventually("the alarm is raised", async || has_alarm(&mut clients).await.then_some(())).await;
    foreign
}

async fn tidied_up(member: &Member, foreign: std::path::PathBuf) {
    std::fs::remove_file(foreign).expect("somebody else tidies up");
    assert_eq!(disarm(&mut member.clients()).await, 1, "one alarm stood");
}
