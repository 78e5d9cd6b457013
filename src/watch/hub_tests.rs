//! What a watch stream is sent, in the order it is sent.

use std::time::Duration;

use super::scripted::{Change, Client, World, events_of, from, small, watch, watch_range};
use super::{Options, Taken};
use crate::wire::error::Error;
use crate::wire::etcdserverpb::WatchCreateRequest;
use crate::wire::etcdserverpb::watch_create_request::FilterType;

fn world() -> World {
    World::new(Options::default())
}

/// A world with a stream that has one watcher, whose created reply was seen.
fn watching(request: &WatchCreateRequest, options: Options) -> (World, Client) {
    let mut world = World::new(options);
    let mut client = world.stream();
    world.create(&client, request);
    client.take(&mut world.hub);
    client.news();
    (world, client)
}

fn with_prev(request: WatchCreateRequest) -> WatchCreateRequest {
    WatchCreateRequest { prev_kv: true, ..request }
}

#[test]
fn a_watch_from_now_is_created_at_the_hubs_level_and_sees_what_comes_after() {
    let mut w = world();
    w.put("a", "old");
    let mut c = w.stream();
    w.create(&c, &watch("a"));
    w.put("a", "new");
    w.put("b", "other");
    w.delete("a");
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: created @2", "0: a=new/3 @3", "0: -a/5 @5"]);
}

#[test]
fn a_delete_event_has_key_and_revision_only() {
    let (mut w, mut c) = watching(&watch("a"), Options::default());
    w.put("a", "1");
    w.delete("a");
    w.drain(&mut c);
    let kv = events_of(&c.messages[2])[0].kv.clone().expect("a key");
    assert_eq!((kv.create_revision, kv.version, kv.lease, kv.value.len(), kv.mod_revision), (0, 0, 0, 0, 3));
}

#[test]
fn ids_start_at_zero_and_skip_those_in_use() {
    let mut w = world();
    let mut c = w.stream();
    for id in [0, 2, 0, 0, 7] {
        w.create(&c, &WatchCreateRequest { watch_id: id, ..watch("a") });
    }
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: created @1", "2: created @1", "1: created @1", "3: created @1", "7: created @1"]);
}

#[test]
fn refused_creates_answer_once_in_turn_and_leave_the_stream_usable() {
    let mut w = world();
    let mut c = w.stream();
    w.create(&c, &WatchCreateRequest { watch_id: 5, ..watch("a") });
    w.create(&c, &WatchCreateRequest { watch_id: 5, ..watch("b") });
    w.create(&c, &watch_range("b", "b"));
    w.create(&c, &from(-1, watch("a")));
    w.hub.refuse(c.id, "rpc error: code = PermissionDenied desc = etcdserver: permission denied".into());
    w.put("a", "1");
    w.drain(&mut c);
    assert_eq!(
        c.news(),
        [
            "5: created @1",
            "-1: refused: mvcc: duplicate watch ID provided on the WatchStream @1",
            "-1: refused: mvcc: watcher range is empty @1",
            "-1: refused: etcdserver: mvcc: required revision has been compacted @1",
            "-1: refused: rpc error: code = PermissionDenied desc = etcdserver: permission denied @1",
            "5: a=1/2 @2",
        ]
    );
}

#[test]
fn the_ring_is_replayed_before_live_events() {
    let (mut w, mut c) = watching(&watch("z"), Options::default());
    w.put("a", "1");
    w.put("a", "2");
    w.put("a", "3");
    w.create(&c, &from(3, watch("a")));
    w.put("a", "4");
    w.drain(&mut c);
    assert_eq!(c.news(), ["1: created @4", "1: a=2/3 @5", "1: a=3/4 @5", "1: a=4/5 @5"]);
}

#[test]
fn history_is_read_once_for_all_that_need_it() {
    let mut w = world();
    for value in ["1", "2", "3"] {
        w.put("a", value);
    }
    let mut c = w.stream();
    w.create(&c, &from(2, watch("a")));
    w.create(&c, &from(3, watch_range("a", "\0")));
    while w.hub.step() {}
    let job = w.hub.take_job().expect("history is wanted");
    assert!(w.hub.take_job().is_none(), "one scan is under way");
    w.put("a", "4");
    let outcome = w.perform(job);
    w.hub.finish(outcome);
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: created @4", "1: created @4", "0: a=1/2 a=2/3 a=3/4 @5", "1: a=2/3 a=3/4 @5", "0: a=4/5 @5", "1: a=4/5 @5"]);
}

#[test]
fn a_start_below_the_compact_revision_is_created_and_then_cancelled() {
    let mut w = world();
    for value in ["1", "2", "3"] {
        w.put("a", value);
    }
    w.compact(3);
    let mut c = w.stream();
    w.create(&c, &from(2, watch("a")));
    w.create(&c, &from(3, watch("a")));
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: created @4", "0: compacted 3 @0", "1: created @4", "1: a=2/3 a=3/4 @4"]);
}

#[test]
fn compaction_that_overtakes_a_watcher_cancels_it_alone() {
    let mut w = world();
    for value in ["1", "2", "3"] {
        w.put("a", value);
    }
    let mut c = w.stream();
    w.create(&c, &from(2, watch("a")));
    w.create(&c, &from(3, watch("a")));
    w.compact(3);
    w.put("b", "x");
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: created @4", "1: created @4", "0: compacted 3 @0", "1: a=2/3 a=3/4 @5"]);
}

#[test]
fn an_id_that_compaction_ended_is_in_use_until_it_is_cancelled() {
    let mut w = world();
    for value in ["1", "2", "3"] {
        w.put("a", value);
    }
    w.compact(3);
    let mut c = w.stream();
    let seven = WatchCreateRequest { watch_id: 7, ..from(2, watch("a")) };
    w.create(&c, &seven);
    w.create(&c, &seven);
    w.hub.cancel(c.id, 7);
    w.hub.cancel(c.id, 7);
    w.create(&c, &WatchCreateRequest { start_revision: 0, ..seven });
    w.drain(&mut c);
    assert_eq!(
        c.news(),
        [
            "7: created @4",
            "7: compacted 3 @0",
            "-1: refused: mvcc: duplicate watch ID provided on the WatchStream @4",
            "7: canceled @4",
            "7: created @4"
        ]
    );
}

#[test]
fn a_watcher_that_compaction_ended_does_not_hold_up_progress() {
    let mut w = world();
    for value in ["1", "2", "3"] {
        w.put("a", value);
    }
    w.compact(3);
    let mut c = w.stream();
    w.create(&c, &watch("a"));
    w.create(&c, &from(2, watch("a")));
    w.hub.progress(c.id);
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: created @4", "1: created @4", "1: compacted 3 @0", "-1: progress @4"]);
}

#[test]
fn a_negative_start_is_told_before_an_empty_range() {
    let mut w = world();
    let mut c = w.stream();
    w.create(&c, &from(-1, watch_range("b", "a")));
    w.drain(&mut c);
    assert_eq!(c.news(), ["-1: refused: etcdserver: mvcc: required revision has been compacted @1"]);
}

#[test]
fn a_future_start_gets_neither_events_nor_progress_below_it() {
    let (mut w, mut c) = watching(&WatchCreateRequest { progress_notify: true, ..from(5, watch("a")) }, Options::default());
    w.put("a", "2");
    w.put("a", "3");
    w.hub.progress(c.id);
    w.hub.tick(Duration::from_secs(700));
    w.put("a", "4");
    w.put("a", "5");
    w.hub.progress(c.id);
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: a=5/5 @5", "-1: progress @5"]);
}

#[test]
fn cancel_answers_for_known_ids_and_nothing_follows() {
    let (mut w, mut c) = watching(&watch("a"), Options::default());
    w.put("a", "1");
    w.hub.cancel(c.id, 9);
    w.hub.cancel(c.id, 0);
    w.put("a", "2");
    w.hub.cancel(c.id, 0);
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: a=1/2 @2", "0: canceled @2"]);
}

#[test]
fn all_changes_of_a_revision_are_in_one_response_in_their_order() {
    let (mut w, mut c) = watching(&watch_range("a", "z"), Options::default());
    w.txn(&[Change::Put("b", "1"), Change::Put("a", "1"), Change::Delete("b")]);
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: b=1/2 a=1/2 -b/2 @2"]);
}

#[test]
fn revisions_of_one_batch_share_a_response_until_it_is_large() {
    let (mut w, mut c) = watching(&watch("a"), Options { response_bytes: 100, ..Options::default() });
    let mut batch = Vec::new();
    for value in ["1", "2", "3", "4", "5"] {
        batch.extend(w.apply(&[Change::Put("a", value)]));
    }
    w.offer(batch);
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: a=1/2 a=2/3 a=3/4 a=4/5 a=5/6 @6".to_owned()]);
    let long = "x".repeat(60);
    let mut batch = Vec::new();
    for _ in 0..2 {
        batch.extend(w.apply(&[Change::Put("a", &long), Change::Put("b", "no")]));
    }
    w.offer(batch);
    w.drain(&mut c);
    assert_eq!(c.news(), [format!("0: a={long}/7 @7"), format!("0: a={long}/8 @8")]);
}

#[test]
fn a_large_revision_goes_in_contiguous_fragments_to_those_who_asked() {
    let options = Options { fragment_bytes: 256, ..Options::default() };
    let (mut w, mut c) = watching(&WatchCreateRequest { fragment: true, ..watch_range("a", "z") }, options);
    w.create(&c, &watch_range("a", "z"));
    let long = "x".repeat(70);
    w.txn(&[Change::Put("a", &long), Change::Put("b", &long), Change::Put("c", &long), Change::Put("d", "")]);
    w.drain(&mut c);
    assert_eq!(
        c.news(),
        [
            "1: created @1".to_owned(),
            format!("0: a={long}/2 b={long}/2 ... @2"),
            format!("0: c={long}/2 d=/2 @2"),
            format!("1: a={long}/2 b={long}/2 c={long}/2 d=/2 @2"),
        ]
    );
}

#[test]
fn one_event_is_never_cut() {
    let options = Options { fragment_bytes: 100, ..Options::default() };
    let (mut w, mut c) = watching(&WatchCreateRequest { fragment: true, ..watch("a") }, options);
    let long = "x".repeat(500);
    w.put("a", &long);
    w.drain(&mut c);
    assert_eq!(c.news(), [format!("0: a={long}/2 @2")]);
}

#[test]
fn filters_drop_events_and_an_empty_response_is_not_sent() {
    let mut w = world();
    let mut c = w.stream();
    for filter in [FilterType::Noput, FilterType::Nodelete] {
        w.create(&c, &WatchCreateRequest { filters: vec![filter.into()], ..watch("a") });
    }
    w.put("a", "1");
    w.delete("a");
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: created @1", "1: created @1", "1: a=1/2 @2", "0: -a/3 @3"]);
}

#[test]
fn previous_values_go_only_to_those_who_asked() {
    let mut w = world();
    let mut c = w.stream();
    w.create(&c, &with_prev(watch("a")));
    w.create(&c, &watch("a"));
    w.put("a", "1");
    w.put("a", "2");
    w.delete("a");
    w.drain(&mut c);
    assert_eq!(c.news()[2..], ["0: a=1/2 @2", "1: a=1/2 @2", "0: a=2<1/3 @3", "1: a=2/3 @3", "0: -a<2/4 @4", "1: -a/4 @4"]);
}

#[test]
fn a_previous_value_that_is_not_at_hand_is_read_and_the_watcher_goes_on_in_order() {
    let mut w = world();
    w.stores_previous = true;
    let mut c = w.stream();
    w.create(&c, &with_prev(watch("a")));
    w.create(&c, &watch("a"));
    w.put("a", "1");
    w.put("a", "2");
    w.put("a", "3");
    c.take(&mut w.hub);
    assert_eq!(c.news()[2..], ["0: a=1/2 @2", "1: a=1/2 @2", "1: a=2/3 @3", "1: a=3/4 @4"]);
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: a=2<1/3 @4", "0: a=3<2/4 @4"]);
}

#[test]
fn a_slow_watcher_catches_up_without_gaps_as_its_consumer_takes() {
    let (mut w, mut c) = watching(&watch("a"), small());
    for value in 0..50 {
        w.put("a", &value.to_string());
    }
    assert_eq!(w.hub.lagging_count(), 1);
    // The ring holds all of it: no job is asked for, and no time has to pass.
    while c.take(&mut w.hub) > 0 {}
    assert!(w.hub.take_job().is_none());
    assert_eq!(w.hub.lagging_count(), 0);
    let revisions: Vec<i64> = c.messages[1..].iter().flat_map(events_of).map(|e| e.kv.expect("a key").mod_revision).collect();
    assert_eq!(revisions, (2..52).collect::<Vec<_>>());
}

#[test]
fn a_full_stream_does_not_hold_up_another() {
    let (mut w, mut slow) = watching(&watch("a"), small());
    let mut quick = w.stream();
    w.create(&quick, &watch("a"));
    for value in 0..20 {
        w.put("a", &value.to_string());
        quick.take(&mut w.hub);
    }
    assert_eq!(quick.messages.len(), 21);
    assert_eq!(slow.take(&mut w.hub), 4);
}

#[test]
fn a_hub_that_jumps_reads_history_and_goes_on() {
    let (mut w, mut c) = watching(&watch("a"), Options::default());
    w.put("a", "1");
    for value in ["2", "3"] {
        w.apply(&[Change::Put("a", value)]);
    }
    w.hub.reach(w.revision);
    w.put("a", "4");
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: a=1/2 @2", "0: a=2/3 a=3/4 @5", "0: a=4/5 @5"]);
}

#[test]
fn a_batch_that_leaves_a_gap_is_made_up_from_history_and_an_old_one_is_passed_over() {
    let (mut w, mut c) = watching(&watch("a"), Options::default());
    let first = w.apply(&[Change::Put("a", "1")]);
    let second = w.apply(&[Change::Put("a", "2")]);
    w.offer(second);
    w.offer(first);
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: a=1/2 a=2/3 @3"]);
}

#[test]
fn progress_is_answered_with_the_hubs_level_after_all_events() {
    let (mut w, mut c) = watching(&watch("a"), Options::default());
    w.put("a", "1");
    w.put("b", "1");
    w.hub.progress(c.id);
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: a=1/2 @2", "-1: progress @3"]);
}

#[test]
fn progress_of_a_stream_without_watchers_is_dropped() {
    let mut w = world();
    let mut c = w.stream();
    w.hub.progress(c.id);
    w.create(&c, &watch("a"));
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: created @1"]);
}

#[test]
fn a_progress_request_during_catch_up_is_answered_once_all_are_level() {
    let mut w = world();
    w.put("a", "1");
    let mut c = w.stream();
    w.create(&c, &from(2, watch("a")));
    w.hub.progress(c.id);
    w.hub.progress(c.id);
    c.take(&mut w.hub);
    assert_eq!(c.news(), ["0: created @2"]);
    w.put("b", "1");
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: a=1/2 @3", "-1: progress @3"]);
}

#[test]
fn a_progress_request_is_answered_when_the_watcher_that_lagged_is_cancelled() {
    let mut w = world();
    w.put("a", "1");
    let mut c = w.stream();
    w.create(&c, &watch("b"));
    w.create(&c, &from(2, watch("a")));
    w.hub.progress(c.id);
    w.hub.cancel(c.id, 1);
    w.drain(&mut c);
    assert_eq!(c.news(), ["0: created @2", "1: created @2", "1: canceled @2", "-1: progress @2"]);
}

#[test]
fn a_quiet_watcher_gets_progress_each_interval_and_one_that_got_events_does_not() {
    let notify = |request| WatchCreateRequest { progress_notify: true, ..request };
    let mut w = world();
    let mut c = w.stream();
    w.create(&c, &notify(watch("a")));
    w.create(&c, &notify(watch("b")));
    w.create(&c, &watch("c"));
    c.take(&mut w.hub);
    c.news();
    w.hub.tick(Duration::from_secs(599));
    w.put("b", "1");
    w.hub.tick(Duration::from_secs(600));
    w.hub.tick(Duration::from_secs(1199));
    c.take(&mut w.hub);
    assert_eq!(c.news(), ["1: b=1/2 @2", "0: progress @2"]);
    assert_eq!(w.hub.next_tick(), Some(Duration::from_secs(1200)));
    w.hub.tick(Duration::from_secs(1200));
    c.take(&mut w.hub);
    assert_eq!(c.news(), ["0: progress @2", "1: progress @2"]);
}

#[test]
fn a_stopping_server_sends_what_is_queued_and_ends_the_streams() {
    let (mut w, mut c) = watching(&watch("a"), Options::default());
    w.put("a", "1");
    w.hub.shutdown();
    w.put("a", "2");
    assert_eq!(c.take(&mut w.hub), 1);
    assert_eq!(c.ended, None);
    assert_eq!(c.take(&mut w.hub), 0);
    assert_eq!(c.ended, Some(Error::Stopped));
}

#[test]
fn losing_the_leader_ends_only_the_streams_that_asked_for_one() {
    let mut w = world();
    let strict = w.hub.open_stream(Duration::ZERO, Duration::ZERO, true);
    let patient = w.stream();
    w.hub.leader_lost();
    assert_eq!(w.hub.take_ready(), [strict]);
    assert_eq!(w.hub.take(strict, &mut Default::default()), Taken::Ended(Error::NoLeader));
    assert_eq!(w.hub.take(patient.id, &mut Default::default()), Taken::Nothing);
}

#[test]
fn a_closed_stream_leaves_nothing_behind() {
    let (mut w, c) = watching(&watch("a"), Options::default());
    w.put("a", "1");
    w.create(&c, &from(1, watch("a")));
    w.hub.close_stream(c.id);
    w.settle();
    assert_eq!((w.hub.stream_count(), w.hub.watcher_count(), w.hub.lagging_count(), w.hub.next_tick()), (0, 0, 0, None));
    let mut next = w.stream();
    w.create(&next, &watch("a"));
    w.put("a", "2");
    w.drain(&mut next);
    assert_eq!(next.news(), ["0: created @2", "0: a=2/3 @3"]);
}

#[test]
fn a_stream_is_reported_ready_once_until_it_is_taken_from() {
    let (mut w, mut c) = watching(&watch("a"), Options::default());
    w.hub.take_ready();
    w.put("a", "1");
    w.put("a", "2");
    assert_eq!(w.hub.take_ready(), [c.id]);
    w.put("a", "3");
    assert_eq!(w.hub.take_ready(), []);
    c.take(&mut w.hub);
    w.put("a", "4");
    assert_eq!(w.hub.take_ready(), [c.id]);
}

#[test]
fn no_watcher_starves_while_others_need_long_history() {
    let mut w = World::new(Options { history_bytes: 64, ..Options::default() });
    for value in 0..400 {
        w.put("a", &value.to_string());
    }
    w.put("b", "1");
    let mut long = w.stream();
    let mut short = w.stream();
    w.create(&long, &from(2, watch("a")));
    w.create(&short, &from(402, watch("b")));
    let mut jobs = 0;
    while short.messages.len() < 2 {
        assert!(w.work(), "there is work until both are level");
        long.take(&mut w.hub);
        short.take(&mut w.hub);
        jobs += 1;
    }
    assert!(jobs <= 4, "{jobs} scans before the short watcher had its turn");
    w.drain(&mut long);
    assert_eq!(long.messages[1..].iter().flat_map(events_of).count(), 400);
}
