//! A small volume that fills up (design D2): the member stays, says NOSPACE, and can be led out of it.

use bytes::Bytes;
use etcd::wal::{FileSystem as _, Open, RealFileSystem};
use etcd::wire::etcdserverpb::{CompactionRequest, DefragmentRequest, DeleteRangeRequest, StatusRequest};
use tonic::Code;

use crate::{
    harness::{Clients, eventually, ours, reference},
    member::{Member, NO_SPACE, Told, disarm, has_alarm},
    volume::Volume,
};

/// Writers at once, each until it is refused.
async fn fill_by_writing(member: &Member, round: &str, value: &Bytes) -> Told {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let (mut clients, value, prefix) = (member.clients(), value.clone(), format!("{round}-{writer}-"));
        writers.spawn(async move {
            let mut told = Told::default();
            let refused = told.put_many(&mut clients, &prefix, 100_000, &value).await.expect_err("the volume is small");
            assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, NO_SPACE));
            told
        });
    }
    let mut told = Told::default();
    while let Some(writer) = writers.join_next().await {
        told.extend(writer.expect("a writer ends by a refusal"));
    }
    told
}

/// Deletes all but a few, compacts, defragments, disarms.
async fn way_out(clients: &mut Clients, told: &mut Told) {
    for key in told.keys().into_iter().skip(5) {
        clients.kv.delete_range(DeleteRangeRequest { key: key.clone(), ..Default::default() }).await.expect("a delete is not refused");
        told.forget(&key);
    }
    let status = clients.maintenance.status(StatusRequest {}).await.expect("a status").into_inner();
    let revision = status.header.expect("a header").revision;
    clients.kv.compact(CompactionRequest { revision, physical: true }).await.expect("a compaction is not refused");
    clients.maintenance.defragment(DefragmentRequest {}).await.expect("a defragmentation is not refused");
    assert_eq!(disarm(clients).await.expect("alarms are told"), 1);
}

async fn fills_and_recovers(volume: Option<Volume>, megabytes: u64) {
    let Some(volume) = volume else { return };
    let notes = tempfile::tempdir().expect("a directory");
    let mut member = Member::new(&ours(), volume.path().join("data"), notes.path(), &[]);
    member.start().await;
    let mut clients = member.clients();
    // Values that do not compress.
    let value: Bytes = (0..200_000).map(|_| rand::random::<u8>()).collect::<Vec<_>>().into();

    let mut told = fill_by_writing(&member, "a", &value).await;
    println!("{megabytes} MB: {} puts of {} bytes, {} bytes free", told.len(), value.len(), volume.free());
    assert!((told.len() * value.len()) as u64 > megabytes << 17, "an eighth of the volume can be used: {}", told.len());
    assert!(member.is_alive() && has_alarm(&mut clients).await.expect("alarms are told"));
    told.check(&mut clients).await;

    way_out(&mut clients, &mut told).await;
    println!("{} bytes free after the way out", volume.free());
    told.put(&mut clients, "again", value.clone()).await.expect("a write after the way out");

    // And once more, with a kill at the end of it.
    told.extend(fill_by_writing(&member, "b", &value).await);
    member.kill();
    member.start().await;
    let mut clients = member.clients();
    assert!(has_alarm(&mut clients).await.expect("alarms are told"), "QUO-6: the alarm outlives a restart");
    told.check(&mut clients).await;
    way_out(&mut clients, &mut told).await;
    told.put(&mut clients, "and again", value).await.expect("a write after the way out");
    told.check(&mut clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_filled_by_writes_is_left_again_by_the_usual_way_out() {
    fills_and_recovers(Volume::of(192), 192).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tiny_volume_is_no_different() {
    fills_and_recovers(Volume::of(96), 96).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_space_for_a_segment_is_filled_and_left_again() {
    fills_and_recovers(Volume::ext4(120), 120).await;
}

#[test]
fn space_that_cannot_be_set_aside_is_left_to_others() {
    let Some(volume) = Volume::ext4(16) else { return };
    let file = RealFileSystem.open(&volume.path().join("segment"), Open::Create).expect("a file");
    file.write_at(0, &[7; 5_000]).expect("there is room");
    file.sync().expect("a sync");
    let free = volume.free();
    let refused = file.allocate(64 << 20).expect_err("the volume is small");
    assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(file.size().expect("a size"), 5_000);
    // But for a block of the map of its blocks.
    assert!(free - volume.free() < 64 << 10, "{} of {free} bytes are left", volume.free());
    file.allocate(1 << 20).expect("there is room for less");
    assert_eq!(file.size().expect("a size"), 1 << 20);
    assert!(volume.free() < free, "the space is set aside");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_somebody_else_fills_ends_nothing() {
    let Some(volume) = Volume::of(256) else { return };
    let notes = tempfile::tempdir().expect("a directory");
    let mut member = Member::new(&ours(), volume.path().join("data"), notes.path(), &[]);
    member.start().await;
    let mut clients = member.clients();
    let mut told = Told::default();
    told.put_many(&mut clients, "before", 20, &Bytes::from(vec![b'b'; 100_000])).await.expect("there is room");

    let foreign = volume.fill();
    assert!(volume.free() < 1 << 20, "{} bytes free", volume.free());
    eventually("the alarm is raised", async || has_alarm(&mut clients).await.expect("alarms are told").then_some(())).await;
    let refused = told.put(&mut clients, "refused", Bytes::new()).await.expect_err("puts are refused");
    assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, NO_SPACE));
    clients.kv.delete_range(DeleteRangeRequest { key: "none".into(), ..Default::default() }).await.expect("a delete is not refused");
    told.check(&mut clients).await;

    // Whatever ends it now, it starts again on the full disk.
    member.kill();
    member.start().await;
    let mut clients = member.clients();
    told.check(&mut clients).await;
    assert!(has_alarm(&mut clients).await.expect("alarms are told"));

    std::fs::remove_file(foreign).expect("somebody else tidies up");
    disarm(&mut clients).await.expect("alarms are told");
    told.put_many(&mut clients, "after", 20, &Bytes::from(vec![b'a'; 100_000])).await.expect("there is room again");
    told.check(&mut clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_volume_does_not_keep_a_member_from_ending() {
    let Some(volume) = Volume::of(128) else { return };
    let notes = tempfile::tempdir().expect("a directory");
    let mut member = Member::new(&ours(), volume.path().join("data"), notes.path(), &[]);
    member.start().await;
    let mut clients = member.clients();
    let mut told = Told::default();
    told.put_many(&mut clients, "k", 30, &Bytes::from(vec![b'b'; 100_000])).await.expect("there is room");
    let foreign = volume.fill();
    member.terminate();
    let status = member.end().await;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "{status}\n{}", member.log_text());
    std::fs::remove_file(foreign).expect("somebody else tidies up");
    member.start().await;
    told.check(&mut member.clients()).await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_one_line_and_code_1() {
    let Some(volume) = Volume::of(16) else { return };
    let notes = tempfile::tempdir().expect("a directory");
    volume.remount("ro");
    let mut member = Member::new(&ours(), volume.path().join("data"), notes.path(), &[]);
    member.spawn(&[]);
    assert_eq!(member.end().await.code(), Some(1), "{}", member.log_text());
    let errors = member.lines_at("error");
    assert_eq!(errors.len(), 1, "{}", member.log_text());
    assert!(errors[0].contains("cannot use the data directory") && errors[0].contains("Read-only file system"), "{}", errors[0]);
}

#[tokio::test]
async fn a_data_directory_that_became_read_only_is_one_line_and_code_1() {
    let Some(volume) = Volume::of(128) else { return };
    let notes = tempfile::tempdir().expect("a directory");
    let mut member = Member::new(&ours(), volume.path().join("data"), notes.path(), &[]);
    member.start().await;
    member.terminate();
    member.end().await;
    volume.remount("ro");
    member.spawn(&[]);
    assert_eq!(member.end().await.code(), Some(1), "{}", member.log_text());
    let errors = member.lines_at("error");
    assert_eq!(errors.len(), 1, "{}", member.log_text());
    assert!(errors[0].contains("Read-only file system"), "{}", errors[0]);
}

#[tokio::test]
async fn a_go_members_directory_is_not_taken_over_where_its_conversion_would_not_fit() {
    // Two segments that the Go member sets aside, its database, and what ours sets aside for itself.
    let Some(volume) = Volume::of(400) else { return };
    let notes = tempfile::tempdir().expect("a directory");
    let mut member = Member::new(&reference(), volume.path().join("data"), notes.path(), &[]);
    member.start().await;
    let value: Bytes = (0..200_000).map(|_| rand::random::<u8>()).collect::<Vec<_>>().into();
    let mut told = Told::default();
    told.put_many(&mut member.clients(), "key-", 100, &value).await.expect("there is room");
    member.kill();
    let filler = volume.fill();

    member.switch_to(&ours());
    member.spawn(&[]);
    assert_eq!(member.end().await.code(), Some(1));
    let said: Vec<_> = member.log_text().lines().filter(|line| line.contains("its conversion may need")).map(str::to_owned).collect();
    assert_eq!(said.len(), 1, "{}", member.log_text());
    let names = std::fs::read_dir(volume.path().join("data/member")).expect("a directory").count();
    assert_eq!(names, 3, "the lock, and the Go member's two");
    std::fs::remove_file(filler).expect("the file is there");
    member.start().await;
    told.check(&mut member.clients()).await;
}
