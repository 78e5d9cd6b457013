//! The steps of a life, and which of them are possible now.

use super::*;

impl World {
    /// What may happen now, with how much it wants to.
    fn possible(&self) -> Vec<(Step, u32)> {
        let Some(member) = &self.member else { return Vec::new() };
        let mut steps = self.possible_inside();
        let mut add = |is_possible: bool, step: Step, weight: u32| {
            if is_possible {
                steps.push((step, weight));
            }
        };
        add(member.can_take(self.now), Step::Take, 6);
        add(true, Step::FlushEngine, 1);
        add(self.is_open && !self.watching.awake().is_empty(), Step::Deliver, 2);
        add(self.is_open, Step::Watch, 2);
        add(self.is_open && self.pending.len() < PENDING_MAX, Step::Command, 6);
        add(self.is_open && !self.promises.is_empty(), Step::Keepalive, 1);
        let may_read = member.may_read() || self.bug == Bug::ReadBeforeLeading || (self.bug == Bug::ReadBeforePublish && self.is_open);
        add(may_read && self.reading.is_none(), Step::Read, 2);
        add(true, Step::Clock, 2);
        add(self.may_change_mood(), Step::Mood, 1);
        add(self.is_comparable(), Step::Check, 1);
        add(self.step.is_multiple_of(7), Step::Crash, 1);
        steps
    }

    /// A full disk becomes free again soon.
    fn may_change_mood(&self) -> bool {
        self.disk.mood() != Mood::Good || self.step.is_multiple_of(11)
    }

    /// What goes on by itself, with nobody asking for anything and no time passing.
    fn possible_inside(&self) -> Vec<(Step, u32)> {
        let Some(member) = &self.member else { return Vec::new() };
        let phase = |wanted: Phase| member.phase == wanted;
        let late = self.bug == Bug::OfferAfterPublish;
        let early = self.bug == Bug::ReplyBeforePublish;
        let all = [
            (member.can_ready(), Step::Ready, 6),
            (member.can_persist_inline(), Step::PersistedInline, 2),
            (member.can_write_log(), Step::WriteLog, 4),
            (member.can_sync_log(), Step::SyncLog, 4),
            (member.can_stage(), Step::Stage, 6),
            (phase(Phase::Staged), Step::Write, 6),
            (phase(Phase::Written), Step::Merge, 6),
            (!early && phase(if late { Phase::Published } else { Phase::Merged }), Step::Offer, 6),
            (phase(if late || early { Phase::Merged } else { Phase::Offered }), Step::Publish, 6),
            (phase(if late { Phase::Offered } else { Phase::Published }), Step::MoveDeadlines, 6),
            (phase(Phase::DeadlinesMoved), Step::Reply, 6),
            (member.can_sweep(), Step::Sweep, 2),
            (member.can_tell_flushed(), Step::TellFlushed, 2),
            (self.now >= self.next_look, Step::Look, 2),
            (self.watching.can_turn(), Step::Turn, 2),
            (self.watching.can_perform(), Step::Perform, 3),
            (self.reading.is_some(), Step::Scan, 3),
        ];
        all.into_iter().filter(|(is_possible, ..)| *is_possible).map(|(_, step, weight)| (step, weight)).collect()
    }

    /// One step, and what must hold after it.
    pub(super) fn act(&mut self) -> Result<(), Stop> {
        let steps = self.possible();
        let &(step, _) =
            steps.choose_weighted(&mut self.rng, |&(step, weight)| weight * self.wants[step as usize]).expect("time may always pass");
        if step == Step::Crash {
            *self.crashes_after.entry(format!("{:?}", self.last)).or_default() += 1;
            self.crash();
            return Ok(());
        }
        self.last = step;
        self.take_step(step)?;
        self.check_invariants()
    }

    /// Goes on until nothing is left to do. Answers when the member rests.
    pub(super) fn settle(&mut self) -> Result<(), Stop> {
        for _ in 0..SETTLE_MAX {
            let member = self.member.as_ref().expect("it lives");
            let next = match self.possible_inside().first() {
                Some(&(step, _)) => step,
                None if member.can_take_settling() => Step::Take,
                None if self.is_open && !self.watching.awake().is_empty() => Step::Deliver,
                None => return Ok(()),
            };
            self.take_step(next)?;
            self.check_invariants()?;
        }
        wrong("the member does not come to rest")
    }

    fn member(&mut self) -> &mut Member {
        self.member.as_mut().expect("it lives")
    }

    fn take_step(&mut self, step: Step) -> Result<(), Stop> {
        let now = self.now;
        match step {
            Step::Take => {
                self.note("driver takes");
                self.member().take(now)
            }
            Step::Ready => self.ready(),
            Step::PersistedInline => {
                self.note("driver hears of a sync");
                self.member().take_persisted();
                Ok(())
            }
            Step::WriteLog => {
                let done = self.member().write_log()?;
                self.note(format!("log write: {done}"));
                Ok(())
            }
            Step::SyncLog => {
                let number = self.member().sync_log()?;
                let synced = self.member().synced;
                self.note(format!("log sync: append {number}, synced {synced}"));
                Ok(())
            }
            Step::Stage => self.stage(),
            Step::Write => {
                let done = self.member().write()?;
                self.note(format!("engine write: {done}"));
                Ok(())
            }
            Step::Merge => {
                self.member().merge();
                self.note("merge");
                Ok(())
            }
            Step::Offer => self.offer(),
            Step::Publish => self.publish(),
            Step::MoveDeadlines => {
                self.member().move_deadlines(now);
                Ok(())
            }
            Step::Reply => self.reply(),
            Step::Sweep => {
                let more = self.member().sweep();
                self.note(format!("sweep, more: {more}"));
                Ok(())
            }
            Step::FlushEngine => {
                let done = self.member().flush_engine();
                self.note(format!("engine flush: {done} at {}", self.engine.index()));
                Ok(())
            }
            Step::TellFlushed => {
                let index = self.member().tell_flushed()?;
                self.note(format!("log is told: flushed {index}"));
                Ok(())
            }
            Step::Look => self.look(),
            Step::Turn => {
                self.watching.step(now);
                self.note("hub turns");
                Ok(())
            }
            Step::Perform => {
                let reader = self.member().reader.clone();
                self.watching.perform(&reader);
                self.note("history is read");
                Ok(())
            }
            Step::Watch => {
                let compacted = self.member().reader.compact_revision();
                let what = self.watching.act(now, self.seen, compacted, &mut self.rng);
                self.note(what);
                Ok(())
            }
            Step::Deliver => {
                let at = *self.watching.awake().choose(&mut self.rng).expect("somebody is awake");
                let what = self.watching.take(at, &self.model)?;
                self.note(what);
                self.seen = self.seen.max(self.watching.seen);
                Ok(())
            }
            Step::Command => self.command(),
            Step::Keepalive => self.keepalive(),
            Step::Read => self.read(),
            Step::Scan => self.scan(),
            Step::Clock => self.clock(),
            Step::Mood => {
                self.change_mood();
                Ok(())
            }
            Step::Check => {
                self.note("check");
                self.check_state()
            }
            Step::Crash => unreachable!("a crash is no step of the member"),
        }
    }

    fn ready(&mut self) -> Result<(), Stop> {
        let committed = self.member().ready();
        let status = self.member().status;
        self.note(format!("ready: {:?} commit {} last {}, {} handed out", status.role, status.commit, status.last, committed.len()));
        for entry in committed {
            self.know(&entry)?;
        }
        if !self.is_open && status.reads_at_once {
            self.open()?;
        }
        Ok(())
    }

    /// What was handed out once is handed out for ever.
    fn know(&mut self, entry: &Entry) -> Result<(), Stop> {
        let known = (entry.term, entry.kind, entry.data.clone());
        match self.truth.get(entry.index as usize - 1) {
            Some(before) if *before == known => Ok(()),
            Some(_) => wrong(format!("entry {} is another one than was handed out before", entry.index)),
            None if entry.index == self.truth.len() as u64 + 1 => {
                self.truth.push(known);
                Ok(())
            }
            None => wrong(format!("entry {} is handed out after {}", entry.index, self.truth.len())),
        }
    }

    /// From here on clients are let in: whatever was acknowledged must be readable.
    fn open(&mut self) -> Result<(), Stop> {
        self.is_open = true;
        let (handed_out, seen, compacted_seen) = (self.handed_out, self.seen, self.compacted_seen);
        let member = self.member();
        let (revision, compacted, applied) = (member.reader.revision(), member.reader.compact_revision(), member.applier.applied().0);
        self.note(format!("open to clients: applied {applied}, revision {revision}, compacted {compacted}"));
        if applied < handed_out {
            return wrong(format!("open at index {applied}, when {handed_out} had been handed out"));
        }
        if revision < seen || compacted < compacted_seen {
            return wrong(format!("I5: open at revision {revision}, compacted {compacted}, after {seen} and {compacted_seen}"));
        }
        if self.is_comparable() { self.check_state() } else { Ok(()) }
    }

    fn stage(&mut self) -> Result<(), Stop> {
        let count = self.rng.random_range(1..12);
        let staged = self.member().stage(count)?;
        self.note(format!("stage {}..={}", staged[0].index, staged[staged.len() - 1].index));
        let known = self.model.index;
        for entry in staged.iter().filter(|entry| entry.index > known) {
            let command = (entry.kind == EntryKind::Normal).then_some(&entry.data);
            self.model.apply(entry.index, command);
        }
        Ok(())
    }

    fn offer(&mut self) -> Result<(), Stop> {
        let member = self.member.as_mut().expect("it lives");
        member.phase = Phase::Offered;
        let Some(batch) = member.take_events() else { return Ok(()) };
        let what = format!("offer {}..={}", batch.first, batch.last);
        self.watching.offer(batch);
        self.note(what);
        Ok(())
    }

    fn publish(&mut self) -> Result<(), Stop> {
        if self.bug == Bug::ReplyBeforePublish && self.member().phase == Phase::Merged {
            self.offer()?;
            self.reply()?;
        }
        let member = self.member();
        member.publish();
        member.phase = Phase::Published;
        let revision = member.reader.revision();
        self.note(format!("publish {revision}"));
        Ok(())
    }

    fn reply(&mut self) -> Result<(), Stop> {
        let replies = self.member().take_replies();
        self.member().phase = Phase::Idle;
        for (id, reply) in replies {
            self.hear(id, &reply)?;
        }
        Ok(())
    }

    /// A reply must say what the model says, and be about something that can be read.
    fn hear(&mut self, id: u64, reply: &Reply) -> Result<(), Stop> {
        if let Some(lease) = self.ending.remove(&id) {
            self.note(format!("lease {lease} has ended: {}", reply.is_ok()));
            return Ok(());
        }
        let Some(pending) = self.pending.remove(&id) else { return Ok(()) };
        let answer = answer_of(reply);
        self.note(format!("reply {id}: {answer:?}"));
        let Some(done) = self.model.done.get(&id).cloned() else { return wrong(format!("{id} is answered and not in the log")) };
        if answer != done.answer {
            return wrong(format!("{id} is answered {answer:?} and should be {:?}", done.answer));
        }
        self.acknowledged += 1;
        let Ok(answer) = answer else { return Ok(()) };
        let revision = answer.revision();
        if revision < pending.floor || (done.has_changed && revision == pending.floor) {
            return wrong(format!("{id} is at revision {revision}, when {} had been seen before it was asked", pending.floor));
        }
        let readable = self.member().reader.revision();
        if readable < revision {
            return wrong(format!("I6: {id} is answered at revision {revision}, and {readable} is readable"));
        }
        if let Answer::Grant { id: lease, ttl, .. } = answer
            && lease > commands::CONTESTED_MAX
        {
            self.promises.insert(lease, Promise { ttl, since: pending.issued });
        }
        self.seen = self.seen.max(revision);
        Ok(())
    }

    // === leases ===

    fn look(&mut self) -> Result<(), Stop> {
        let (now, bug) = (self.now, self.bug);
        self.next_look = now + LOOK_EVERY;
        let has_crashed = self.crashes > 0;
        let member = self.member();
        let (status, deadlines, leases) = (member.status, Arc::clone(&member.deadlines), member.leases.clone());
        if bug == Bug::NoDeadlines && has_crashed {
            return Ok(());
        }
        if bug == Bug::ShortDeadlines && status.reads_at_once && !deadlines.is_leader() {
            deadlines.promote(now.saturating_sub(Duration::from_secs(3)), &|| leases.list(), Duration::ZERO);
        }
        if !node::take_over(status, &deadlines, &leases, now, ELECTION) {
            return Ok(());
        }
        for lease in deadlines.expired(now, 16) {
            self.note(format!("lease {lease} is due"));
            if let Some(promise) = self.promises.get(&lease)
                && promise.since + Duration::from_secs(promise.ttl as u64) > now
            {
                return wrong(format!("lease {lease} ends before its time: {promise:?}"));
            }
            let id = self.propose(Action::LeaseRevoke(LeaseRevokeRequest { id: lease }));
            self.ending.insert(id, lease);
        }
        Ok(())
    }

    fn keepalive(&mut self) -> Result<(), Stop> {
        let ids: Vec<i64> = self.promises.keys().copied().collect();
        let &id = ids.choose(&mut self.rng).expect("a lease was granted");
        let (now, bug) = (self.now, self.bug);
        let is_granted = self.is_comparable() && self.model.leases.contains_key(&id);
        let member = self.member();
        let deadlines = Arc::clone(&member.deadlines);
        if bug == Bug::KeepaliveIsForgotten && deadlines.remaining(id, now).is_some_and(|left| left > 0) {
            self.promises.get_mut(&id).expect("it was promised").since = now;
            return Ok(());
        }
        let renewal = deadlines.renew(id, now);
        self.note(format!("keepalive {id}: {renewal:?}"));
        let promise = self.promises.get_mut(&id).expect("it was promised");
        match renewal {
            Renewal::Renewed { ttl, .. } if ttl == promise.ttl => promise.since = now,
            Renewal::Renewed { ttl, .. } => return wrong(format!("lease {id} has {ttl} seconds and was granted {}", promise.ttl)),
            Renewal::Expired if promise.since + Duration::from_secs(promise.ttl as u64) > now => {
                return wrong(format!("lease {id} is expired before its time: {promise:?}"));
            }
            Renewal::Unknown if is_granted => return wrong(format!("lease {id} is not known to the leader")),
            _ => {}
        }
        Ok(())
    }

    // === clients ===

    fn propose(&mut self, action: Action) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let command = Command { id, caller: Caller::default(), action };
        let data = command.encode().expect("it nests nothing");
        let is_twice = self.bug == Bug::ProposedTwice && id.is_multiple_of(5);
        let inbox = &mut self.member().inbox;
        if is_twice {
            inbox.push(data.clone());
        }
        inbox.push(data);
        id
    }

    fn command(&mut self) -> Result<(), Stop> {
        let action = commands::action(self.next_id, self.seen, self.compacted_seen, &self.leases, &mut self.rng);
        if let Action::LeaseGrant(grant) = &action {
            self.leases.push(grant.id);
        }
        let text = format!("{action:?}");
        let pending = Pending { issued: self.now, floor: self.seen };
        let id = self.propose(action);
        self.pending.insert(id, pending);
        self.note(format!("command {id}: {}", &text[..text.len().min(110)]));
        Ok(())
    }

    /// A linearizable read of everything, or one of the past.
    fn read(&mut self) -> Result<(), Stop> {
        let mut request = RangeRequest { key: Bytes::from_static(b"\0"), range_end: Bytes::from_static(b"\0"), ..RangeRequest::default() };
        if self.rng.random_bool(0.4) {
            request.revision = self.rng.random_range(1..=self.seen + 1);
        }
        let floor = self.seen;
        let member = self.member();
        let (revision, compacted) = (member.reader.revision(), member.reader.compact_revision());
        self.note(format!("read at {}: readable {compacted}..={revision}", request.revision));
        match self.member().reader.scan(&request) {
            Ok(scan) => self.reading = Some(Reading { scan, request, floor }),
            Err(Error::Compacted) if request.revision < compacted => {}
            Err(Error::FutureRev) if request.revision > revision && request.revision > floor => {}
            Err(error) => return wrong(format!("a read at {} of {compacted}..={revision} is refused: {error}", request.revision)),
        }
        Ok(())
    }

    fn scan(&mut self) -> Result<(), Stop> {
        let mut reading = self.reading.take().expect("a read is under way");
        let compacted = self.member().reader.compact_revision();
        match reading.scan.step(2) {
            Ok(ScanStep::More) => self.reading = Some(reading),
            Ok(ScanStep::Read) => match reading.scan.read() {
                Ok(()) => self.reading = Some(reading),
                Err(error) => return wrong(format!("a read failed: {error}")),
            },
            Err(Error::Compacted) if reading.request.revision > 0 && reading.request.revision < compacted => {}
            Err(error) => return wrong(format!("a read at {} was broken off: {error}", reading.request.revision)),
            Ok(ScanStep::Done(response)) => {
                let header = response.header.map_or(0, |header| header.revision);
                self.note(format!("read: {} keys at {header}", response.kvs.len()));
                if header < reading.floor {
                    return wrong(format!("a read at revision {header} began when {} had been seen", reading.floor));
                }
                if header > self.model.revision {
                    return wrong(format!("I8: a read at revision {header}, when the model is at {}", self.model.revision));
                }
                let at = if reading.request.revision > 0 { reading.request.revision } else { header };
                let kvs: Vec<KeyValue> = response.kvs.iter().map(|kv| KeyValue::decode(&kv[..]).expect("a record")).collect();
                let wanted: Vec<KeyValue> = self.model.at(at).into_values().collect();
                if kvs != wanted {
                    return wrong(format!("a read at {at} finds {kvs:?} and should find {wanted:?}"));
                }
                self.seen = self.seen.max(header);
            }
        }
        Ok(())
    }

    // === the world ===

    fn clock(&mut self) -> Result<(), Stop> {
        let ms = if self.rng.random_bool(0.1) { self.rng.random_range(500..2500) } else { self.rng.random_range(1..150) };
        self.pass(Duration::from_millis(ms));
        Ok(())
    }

    /// Time passes; clients that have waited too long give up.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        self.pending.retain(|_, pending| pending.issued + PATIENCE > now);
        self.note("time passes");
    }

    fn change_mood(&mut self) {
        let mood = match self.disk.mood() {
            Mood::Good => *[Mood::Full, Mood::Full, Mood::SyncFails].choose(&mut self.rng).expect("not empty"),
            _ => Mood::Good,
        };
        self.set_mood(mood);
    }

    pub(super) fn set_mood(&mut self, mood: Mood) {
        self.disk.set_mood(mood);
        self.engine.set_full(mood == Mood::Full);
        self.note(format!("the disk is {mood:?}"));
    }
}
